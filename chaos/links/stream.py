"""One direction of one connection through a proxy: what comes in is cut, drawn for, held, let go.

Order is kept: nothing leaves before what came in before it, unless it is drawn to overtake. What a
lane does not let through is held, and past a bound no more is read, so that the sender's kernel
says wait. Nothing is dropped: when the lane lets through again, all goes on, as TCP does when it
sends again. The end of the connection is held in the same way, behind the last byte.

All of it runs in callbacks of the loop; there is one timer and no task.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from .frames import Cutter, Kind, Unit
from .lanes import Lane

HELD_BYTES_MAX = 4_194_304  # a stream in one direction, as Linux keeps of unsent bytes (tcp_wmem)
HELD_UNITS_MAX = 16_384  # small ones weigh more than their bytes
READ_BYTES = 65_536  # at the last moment of a connection, to break it in the middle of a frame
OVERTAKE_SECONDS = 0.05  # a frame waits so long for the next one to overtake it


class Ending(Enum):
    """How a connection ends."""

    CLOSED = auto()  # with a FIN
    BROKEN = auto()  # with an RST


@dataclass(slots=True)
class Held:
    """What waits to be let go."""

    due: float  # on the loop's clock
    kind: Kind
    bytes: bytes
    yields: bool

    @property
    def at(self) -> float:
        """When to let it go."""
        return self.due + OVERTAKE_SECONDS if self.yields else self.due


class Stream:
    """The bytes from a source to a sink; `ended` is called when the end has arrived there."""

    def __init__(self, lane: Lane, ended: Callable[[Ending], None]) -> None:
        self.lane = lane
        self.source: asyncio.Transport | None = None
        self.sink: asyncio.Transport | None = None
        self.ending: Ending | None = None
        self.done = False
        self.not_before = 0.0  # when the other side has answered the call
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._cutter = Cutter()
        self._held: deque[Held] = deque()
        self._held_bytes = 0
        self._written = 0  # bytes of the first that is held
        self._slot: tuple[int, float] | None = None  # which the lane gave for the next bytes
        self._last_due = 0.0
        self._sink_full = False
        self._paused = False
        self._stopped = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def held_bytes(self) -> int:
        """How many bytes have come in and not gone out."""
        return self._held_bytes + self._cutter.kept

    # -- what the source does --------------------------------------------------------------------

    def take(self, data: bytes) -> None:
        """Bytes have come."""
        if self.done:
            return
        frames = self._cutter.frames
        if self._is_straight():
            self._write(self._cutter.pass_on(data))
        else:
            for unit in self._cutter.feed(data):
                self._hold(unit)
            self.move()
        self.lane.frames += self._cutter.frames - frames

    def finish(self, ending: Ending) -> None:
        """Nothing more comes."""
        if self.ending is not None:
            return
        self.ending = ending
        rest = self._cutter.release()
        if rest and ending is Ending.CLOSED:
            self._hold(Unit(Kind.PART, rest))
        self._last_due = self._arrival(self.lane.now.delay(self.lane.luck))
        self.move()

    # -- what the sink does ----------------------------------------------------------------------

    def sink_full(self, *, full: bool) -> None:
        """The sink wants no more for now, or wants more again."""
        self._sink_full = full
        self.move()

    def sink_lost(self) -> None:
        """Nobody is there to take anything."""
        self.done = True
        self._held.clear()
        self._held_bytes = 0
        self._stop_timer()
        self._throttle()

    # -- what the lane does ----------------------------------------------------------------------

    def renewed(self) -> None:
        """The lane's conditions have changed."""
        self._slot = None
        self.move()

    def break_off(self) -> None:
        """Let some of the next frame go if it is there: the connection is about to be torn."""
        if self.sink is None or self._sink_full or self.done or not self.lane.now.passes:
            return
        if self._written or (self._cutter.inside and not self._held):
            return
        self._write(self._beginning())

    # -- in between ------------------------------------------------------------------------------

    def move(self) -> None:
        """Let go what may go now."""
        self._stop_timer()
        while self._held and self._first_may_go():
            self._let_go()
        if not self._held and self._is_open(Kind.DATA):
            self._run_dry()
        self._throttle()

    def _is_straight(self) -> bool:
        """Whether bytes go through without ado."""
        return (
            self.lane.perfect
            and not self._held
            and self._is_open(Kind.DATA)
            and self.not_before <= self._loop.time()
        )

    def _is_open(self, kind: Kind) -> bool:
        stopped = not self.lane.lets(kind)
        if stopped and not self._stopped and (self._held or self.ending is not None):
            self.lane.counts["cut off"] += 1
            self._stopped = True
        elif not stopped and self.lane.now.passes:
            self._stopped = False
        return not stopped and self.sink is not None and not self._sink_full and not self.done

    def _hold(self, unit: Unit) -> None:
        fate = self.lane.fate(unit)
        due = self._arrival(fate.seconds)
        held = Held(due, unit.kind, fate.bytes, fate.yields)
        before = self._held[-1] if self._held else None
        if before is not None and before.yields and unit.kind is Kind.DATA:
            self.lane.counts["reordered"] += 1
            before.due, before.yields, held.yields = due, False, False
            self._held.insert(len(self._held) - 1, held)
        else:
            self._held.append(held)
        if fate.twice:
            self._held.append(Held(due, unit.kind, fate.bytes, yields=False))
        self._held_bytes += len(fate.bytes) * (1 + fate.twice)
        self._last_due = due

    def _arrival(self, seconds: float) -> float:
        return max(max(self._loop.time(), self.not_before) + seconds, self._last_due)

    def _first_may_go(self) -> bool:
        first = self._held[0]
        if not self._is_open(first.kind):
            return False
        if first.at > self._loop.time():
            return self._wait_until(first.at)
        if self._slot is None:
            first.yields = False  # what has begun to go is not overtaken
            rest = len(first.bytes) - self._written
            self._slot = self.lane.slot(rest, self._loop.time())
        return self._slot[1] <= self._loop.time() or self._wait_until(self._slot[1])

    def _let_go(self) -> None:
        assert self._slot is not None, "asked for before anything goes"
        first, size = self._held[0], self._slot[0]
        end = self._written + size
        piece = first.bytes[self._written : end]
        self._slot = None
        self._held_bytes -= size
        self._written = end
        if end == len(first.bytes):
            self._held.popleft()
            self._written = 0
        self._write(piece)

    def _run_dry(self) -> None:
        """Nothing is held: what is not yet a unit goes too if it may, and then the end."""
        if self.lane.perfect and self._cutter.kept:
            self._write(self._cutter.release())
        if self.ending is None or self.sink is None or self.done:
            return
        if self._last_due > self._loop.time():
            self._wait_until(self._last_due)
            return
        self.done = True
        if self.ending is Ending.CLOSED and self.sink.can_write_eof():
            with contextlib.suppress(OSError):  # it may be gone by now
                self.sink.write_eof()
        self._ended(self.ending)

    def _beginning(self) -> bytes:
        """Some of the next frame, never all of it; if need be read here and now."""
        if not self._held and not self._cutter.kept and self.source is not None:
            with contextlib.suppress(OSError):
                data = os.read(self.source.get_extra_info("socket").fileno(), READ_BYTES)
                for unit in self._cutter.feed(data):
                    self._hold(unit)
        if not self._held:
            return self._cutter.release()
        first = self._held[0].bytes
        return first[: self.lane.luck.randrange(1, len(first))] if len(first) > 1 else b""

    def _write(self, data: bytes) -> None:
        if data and self.sink is not None and not self.sink.is_closing():
            self.lane.bytes += len(data)
            self.sink.write(data)

    def _throttle(self) -> None:
        """Read no more while too much is held."""
        if self.source is None or self.source.is_closing() or self.ending is not None:
            return
        much = self.held_bytes > HELD_BYTES_MAX or len(self._held) > HELD_UNITS_MAX
        pause = not self.done and (self._sink_full or much)
        if pause and not self._paused:
            self.source.pause_reading()
        elif self._paused and not pause:
            self.source.resume_reading()
        self._paused = pause

    def _wait_until(self, time: float) -> bool:
        self._stop_timer()
        self._timer = self._loop.call_at(time, self.move)
        return False

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
