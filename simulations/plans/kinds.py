"""What can go wrong: one table of kinds. A kind says what its `amount` means."""

from __future__ import annotations

from typing import NamedTuple

from .plan import Fault, Plan


class Kind(NamedTuple):
    """A kind of fault."""

    family: str  # network, clock, disk, node or members
    amount: float | None  # the usual one
    unit: str  # what the amount is, for people
    says: str
    only: str = ""  # real: for `anabranch chaos` alone; simulated: for simulated worlds alone


def _real(family: str, amount: float | None, unit: str, says: str) -> Kind:
    return Kind(family, amount, unit, says, only="real")


KINDS: dict[str, Kind] = {
    "cut": Kind("network", None, "", "nothing passes between two sides, without a word"),
    "reset": Kind("network", None, "", "as a cut, and links break at once"),
    "one-way": Kind("network", None, "", "nothing passes from one side to the other"),
    "silent": Kind("network", None, "", "links open, then nothing comes from one side"),
    "flap": Kind("network", 0.5, "share of the time that it is cut", "a cut that comes and goes"),
    "slow": Kind("network", 10.0, "times the latency", "everything takes longer"),
    "drip": Kind("network", 4096.0, "bytes a second", "hardly anything passes at a time"),
    "loss": Kind("network", 0.05, "share of frames", "frames are lost and sent again"),
    "duplicate": Kind("network", 0.05, "share of frames", "frames arrive twice"),
    "reorder": Kind("network", 0.05, "share of frames", "frames overtake others"),
    "garble": Kind("network", 0.01, "share of frames", "a bit of a frame is flipped"),
    "drill": Kind("network", None, "", "a node breaks its own links, as `anabranch drill` does"),
    "clock": Kind("clock", 60.0, "seconds ahead", "a clock is set wrong"),
    "drift": Kind("clock", 50_000.0, "parts per million", "a clock runs too fast"),
    "strobe": Kind("clock", 0.1, "seconds to and fro", "a clock jumps forth and back"),
    "disk-full": Kind("disk", None, "", "no room but what is kept for promises"),
    "disk-slow": Kind("disk", 20.0, "times as long", "everything takes longer to be durable"),
    "disk-stall": Kind("disk", None, "", "nothing becomes durable for a while"),
    "disk-fails": Kind("disk", None, "", "the disk confirms nothing: the node has to end"),
    "crash": Kind("node", None, "", "a node dies, with what its disk had not confirmed"),
    "crash-writing": Kind("node", None, "", "the same, amid a write"),
    "reboot": Kind(
        "node", 0.1, "seconds that its clock is set back", "as before, and it starts again at once"
    ),
    "stop": Kind("node", None, "", "a node is ended in order"),
    "pause": Kind("node", None, "", "a node stands still and then goes on"),
    "lose-index": Kind("node", None, "", "a node dies and its index is deleted"),
    "lose-disk": Kind(
        "node", None, "", "a node of a cluster that has formed comes back with an empty disk"
    ),
    "roll-back": Kind("members", None, "", "a node dies, and its disk is as when the fault began"),
    "twin": Kind("members", None, "", "a copy of a node's directory runs beside it"),
    "evict": Kind("members", None, "", "an operator has a node removed; it comes back by itself"),
    "leave": Kind("members", None, "", "a node leaves in order, and joins again in the end"),
    "join": Kind(
        "members", None, "", "a node that was not there from the start joins", only="simulated"
    ),
    "misread": Kind(
        "disk", 0.05, "share of reads", "reads fail or give a wrong block now and then"
    ),
    "bit-rot": Kind("disk", None, "", "a node stops; what lies on its disk is damaged meanwhile"),
    "live-rot": Kind("disk", None, "", "what lies on the disk of a running node is damaged"),
    "lose-segment": Kind(
        "disk", 1.0, "share that is gone, not cut short", "a file of a running node's log is gone"
    ),
    "lose-end": Kind("disk", None, "", "a node stops; the end of its log is gone when it starts"),
    "index-rot": Kind(
        "disk", None, "", "the index names a wrong hash for a settled commit or a node of its tree"
    ),
    "no-room": Kind("disk", None, "", "not even what is kept for promises fits any more"),
    "kill-at": _real("node", 1.0, "th time", "a process is killed at a named point"),
    "power": _real("node", None, "", "a node loses power: what was not synced is gone"),
    "crash-loop": _real("node", 3.0, "times", "a node is killed, and again while it starts"),
    "write-fails": Kind("disk", None, "", "a write to the log fails: the node has to end"),
    "write-full": _real("disk", None, "", "writes find no room, whatever the file system says"),
}
SIMULATED = tuple(name for name, of in KINDS.items() if of.only != "real")
REAL = tuple(name for name, of in KINDS.items() if of.only != "simulated")


def sides(plan: Plan, fault: Fault) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The nodes that a fault is about, and those at the far end if it is about links."""
    here = plan.among(fault.where)
    if KINDS[fault.kind].family != "network":
        return here, ()
    if fault.towards:
        return here, plan.among(fault.towards)
    return here, tuple(name for name in plan.nodes if name not in here or not fault.where)


def describe(fault: Fault) -> str:
    """A fault in a few words."""
    kind = KINDS[fault.kind]
    amount = fault.amount if fault.amount is not None else kind.amount
    words = [fault.kind]
    if fault.where:
        words.append(f"at {', '.join(fault.where)}")
    if fault.point:
        words.append(f"({fault.point})")
    if fault.towards:
        words.append(f"towards {', '.join(fault.towards)}")
    if amount is not None and kind.unit:
        words.append(f"({amount:g} {kind.unit})")
    return " ".join(words)
