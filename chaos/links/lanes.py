"""A lane is one way from a node to another: its route, its weather, and what that does to bytes.

Two proxies share it: it is the forward direction of links dialled here, and the backward direction
of links dialled there.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from random import Random as Generator
from typing import Protocol

from ...simulations.world.weather import Route, Weather, combine, flip_a_bit, resend_seconds
from .frames import Kind, Unit

AT_ONCE = Route(latency_seconds=0.0)  # loopback as it is
DRIP_SECONDS = 0.05  # a narrow lane lets so much through at a time


class Traffic(Protocol):
    """A connection that uses a lane."""

    def renewed(self) -> None:
        """The lane's conditions have changed."""
        ...

    def tear(self) -> None:
        """Break, at once and in the middle of a frame if there is one."""
        ...


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of a unit on its way."""

    bytes: bytes
    seconds: float  # in flight
    twice: bool
    yields: bool  # lets the next frame overtake


class Lane:
    """One way from a node to another."""

    def __init__(self, here: str, there: str, seed: int | str, route: Route = AT_ONCE) -> None:
        self.here = here
        self.there = there
        self.luck = Generator(f"lane {seed} {here} {there}")
        self.route = route
        self.weathers: dict[str, Weather] = {}
        self.traffic: dict[Traffic, None] = {}  # a set that keeps its order, so that runs repeat
        self.connections = 0  # that were dialled this way
        self.bytes = 0  # that were let through
        self.frames = 0  # that came to be sent
        self.counts: Counter[str] = Counter()  # what went wrong
        self._free_at = 0.0  # when the bytes let through so far have taken their time
        self._renew()

    def set_route(self, route: Route) -> None:
        """Say what the way is like."""
        self.route = route
        self._renew()

    def begin(self, token: str, weather: Weather) -> None:
        """Let weather come, until the token is ended."""
        if weather.reset:  # before it counts: what flies may still arrive, in part
            for one in list(self.traffic):
                one.tear()
                self.counts["reset"] += 1
        self.weathers[token] = weather
        self._renew()

    def end(self, token: str) -> None:
        """End the weather that began with this token."""
        if self.weathers.pop(token, None) is not None:
            self._renew()

    def heal(self) -> None:
        """End all weather."""
        if self.weathers:
            self.weathers.clear()
            self._renew()

    def lets(self, kind: Kind) -> bool:
        """Whether bytes of this kind arrive: on a silent lane the head still does."""
        return self.now.opens if kind is Kind.HEAD else self.now.passes

    def fate(self, unit: Unit) -> Fate:
        """Draw what becomes of a unit."""
        now, luck = self.now, self.luck
        seconds = now.delay(luck)
        if now.steady:
            return Fate(unit.bytes, seconds, twice=False, yields=False)
        losses = now.losses(luck)
        self.counts.update({"lost": losses} if losses else ())
        data = unit.bytes
        if unit.kind in (Kind.DATA, Kind.PART) and luck.random() < now.garble:
            self.counts["garbled"] += 1
            data = garble(unit, luck)
        yields = unit.kind is Kind.DATA and luck.random() < now.reorder
        twice = unit.kind is Kind.DATA and luck.random() < now.duplicate and not yields
        self.counts.update({"duplicated": 1} if twice else ())
        return Fate(data, seconds + resend_seconds(losses), twice, yields)

    def opening_seconds(self) -> float:
        """How long one half of the greeting takes that opens a connection."""
        losses = self.now.losses(self.luck)
        self.counts.update({"lost": losses} if losses else ())
        return self.now.delay(self.luck) + resend_seconds(losses)

    def slot(self, size: int, time: float) -> tuple[int, float]:
        """How many of so many bytes may pass next, and when; whoever asks takes that time."""
        if self.now.bandwidth is None:
            return size, time
        size = min(size, max(1, int(self.now.bandwidth * DRIP_SECONDS)))
        begin = max(self._free_at, time - DRIP_SECONDS)  # a late timer may be made up for
        self._free_at = begin + size / self.now.bandwidth
        return size, self._free_at

    def _renew(self) -> None:
        self.now = combine(self.route, self.weathers.values())
        self.refuses = any(one.reset for one in self.weathers.values())
        self.perfect = (
            self.now.passes
            and self.now.steady
            and not self.now.shortest
            and not self.now.spread
            and self.now.bandwidth is None
        )
        self._free_at = 0.0
        for one in list(self.traffic):
            one.renewed()


def garble(unit: Unit, luck: Generator) -> bytes:
    """The unit with one bit changed: in the payload half of the time, else anywhere."""
    if luck.random() < 0.5 and unit.payload_at < len(unit.bytes):
        head, payload = unit.bytes[: unit.payload_at], unit.bytes[unit.payload_at :]
        return head + flip_a_bit(payload, luck)
    return flip_a_bit(unit.bytes, luck)
