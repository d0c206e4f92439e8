"""What a way between two nodes is like, and what goes wrong on it: values, and how they add up.

A route is for good, weather comes and goes. Several weathers may lie over one way: any cut cuts,
the lowest bandwidth counts, factors multiply, and shares add up as independent chances do.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random as Generator

TAIL_ALPHA = 1.5  # of the Pareto distribution of late frames
TAIL_MAX = 50.0  # no frame takes more than this many times as long
RESEND_SECONDS = 0.2  # after which a lost frame is sent again, then twice as long, and so on
RESENDS_MAX = 8


@dataclass(frozen=True, slots=True)
class Route:
    """A way from one node to another; the last four are shares of frames."""

    latency_seconds: float = 0.02
    jitter: float = 0.5  # a frame takes this share of the latency more or less
    tail: float = 0.0  # the share of frames that take a multiple
    bandwidth: float | None = None  # bytes a second
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    garble: float = 0.0


@dataclass(frozen=True, slots=True)
class Weather:
    """What goes wrong for a while on a way from one node to another."""

    cut: bool = False  # nothing passes, without a word
    silent: bool = False  # links open, and then nothing passes
    reset: bool = False  # links break at once when it begins
    slow: float = 1.0  # times the latency
    bandwidth: float | None = None  # bytes a second
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    garble: float = 0.0


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a route and the weather over it come to."""

    opens: bool  # whether links can be opened
    passes: bool  # whether frames arrive
    steady: bool  # frames are at most late
    shortest: float  # seconds
    spread: float  # seconds, from the shortest to the longest but for the tail
    tail: float
    bandwidth: float | None
    loss: float
    duplicate: float
    reorder: float
    garble: float

    def delay(self, luck: Generator) -> float:
        """How long a frame flies."""
        seconds = self.shortest + self.spread * luck.random()
        if self.tail and luck.random() < self.tail:
            seconds *= min(luck.paretovariate(TAIL_ALPHA), TAIL_MAX)
        return seconds

    def losses(self, luck: Generator) -> int:
        """How often a frame is lost before it arrives."""
        lost = 0
        while lost < RESENDS_MAX and self.loss and luck.random() < self.loss:
            lost += 1
        return lost


def combine(route: Route, weathers: Iterable[Weather]) -> Conditions:
    """What it is like under several weathers at once."""
    over = list(weathers)
    cut = any(one.cut for one in over)
    latency = route.latency_seconds
    for one in over:
        latency *= one.slow
    bandwidths = [b for b in (route.bandwidth, *(one.bandwidth for one in over)) if b is not None]
    loss = _either([route.loss, *(one.loss for one in over)])
    duplicate = _either([route.duplicate, *(one.duplicate for one in over)])
    reorder = _either([route.reorder, *(one.reorder for one in over)])
    garble = _either([route.garble, *(one.garble for one in over)])
    return Conditions(
        opens=not cut,
        passes=not (cut or any(one.silent for one in over)),
        steady=not (loss or duplicate or reorder or garble),
        shortest=latency * (1 - route.jitter),
        spread=latency * 2 * route.jitter,
        tail=route.tail,
        bandwidth=min(bandwidths, default=None),
        loss=loss,
        duplicate=duplicate,
        reorder=reorder,
        garble=garble,
    )


def resend_seconds(losses: int) -> float:
    """How much later a frame comes that was lost so often."""
    return RESEND_SECONDS * (2.0**losses - 1)


def flip_a_bit(frame: bytes, luck: Generator) -> bytes:
    """The frame with one bit changed."""
    bit = luck.randrange(8 * len(frame))
    garbled = bytearray(frame)
    garbled[bit // 8] ^= 1 << bit % 8
    return bytes(garbled)


def _either(chances: list[float]) -> float:
    none = 1.0
    for chance in chances:
        none *= 1 - chance
    return 1 - none
