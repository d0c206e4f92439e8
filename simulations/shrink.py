"""A plan that fails, made smaller for as long as it still fails: delta debugging over data.

A move proposes plans and is told what is the smallest that fails so far, so it can go on from
there (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002). A round
makes all moves; rounds go on until one of them changes nothing, or the tries are used up.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import MISSING, Field, fields, replace
from typing import Any, Protocol

from ..node.config import Tuning
from .plans.bounds import Bounds
from .plans.plan import Client, Fault, Plan, Site

Moves = Generator[Plan, Plan, None]
_DIGITS = (0, 1, 2, 3)  # of times, from the roundest on
_OPERATIONS_MAX = 1 << 20  # of a client whose plan names no limit
_SHORTEST_SECONDS = 0.1


class _Move(Protocol):
    def __call__(self, plan: Plan, /) -> Moves: ...


def shrink(
    plan: Plan,
    fails: Callable[[Plan], bool],
    *,
    tries: int,
    told: Callable[[str], None] = lambda _: None,
) -> Plan:
    """The smallest plan that was found to fail, in so many tries; `plan` is one that does."""
    search = _Search(plan, fails, tries, told)
    while search.left:
        before = search.plan
        for move in MOVES:
            search.make(move)
        if search.plan == before:
            break
    return search.plan


def check_of(violation: str) -> str:
    """What noticed a violation: the name of a checker, or an expectation."""
    name, _, rest = violation.partition(": ")
    return f"{name}: {rest.partition(': ')[0]}" if name == "expected" else name


def size_of(plan: Plan) -> str:
    """How much there is to a plan, in a few words."""
    limits = [client.limit for client in plan.clients]
    operations = str(sum(limits)) if max(limits, default=0) < _OPERATIONS_MAX else "any number of"
    return (
        f"{len(plan.nodes)} nodes, {len(plan.faults)} faults, {len(plan.clients)} clients, "
        f"{operations} operations, {plan.healed_at:g} s"
    )


class _Search:
    def __init__(
        self,
        plan: Plan,
        fails: Callable[[Plan], bool],
        tries: int,
        told: Callable[[str], None],
    ) -> None:
        self.plan = plan
        self.left = tries
        self._fails = fails
        self._told = told
        self._seen = {repr(plan)}

    def make(self, move: _Move) -> None:
        """Try what a move proposes, for as long as there are tries."""
        moves = move(self.plan)
        candidate = next(moves, None)
        while candidate is not None and self.left:
            self._try(candidate)
            try:
                candidate = moves.send(self.plan)
            except StopIteration:
                return
        moves.close()

    def _try(self, candidate: Plan) -> None:
        if repr(candidate) in self._seen or len(candidate.late) == len(candidate.nodes):
            return
        self._seen.add(repr(candidate))
        self.left -= 1
        if self._fails(candidate):
            self.plan = candidate
            self._told(size_of(candidate))


# -- fewer of something --------------------------------------------------------------------------


def _fewer(name: str) -> _Move:
    """Leave out halves, then quarters, then single ones."""

    def move(plan: Plan) -> Moves:
        size = (len(getattr(plan, name)) + 1) // 2
        while size:
            start = 0
            while start < len(items := getattr(plan, name)):
                plan = yield _set(plan, name, items[:start] + items[start + size :])
                if getattr(plan, name) == items:
                    start += size
            size //= 2

    return move


def _expect_nothing(plan: Plan) -> Moves:
    yield replace(plan, expect={})


def _fewer_sites(plan: Plan) -> Moves:
    for site in reversed(plan.sites):
        if len(plan.sites) > 1:
            left = tuple(other for other in plan.sites if other.name != site.name)
            plan = yield _with_sites(plan, left)


def _fewer_nodes(plan: Plan) -> Moves:
    for number, site in enumerate(plan.sites):
        for nodes in range(1, site.nodes):
            smaller = (*plan.sites[:number], Site(site.name, nodes), *plan.sites[number + 1 :])
            plan = yield _with_sites(plan, smaller)
            if plan.sites[number].nodes == nodes:
                break


def _with_sites(plan: Plan, sites: tuple[Site, ...]) -> Plan:
    """The plan with these sites only; what is about nodes that are gone goes with them."""
    smaller = replace(plan, sites=sites)
    known = {*smaller.nodes, *(site.name for site in sites)}

    def kept(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name for name in names if name in known)

    faults = (
        replace(fault, where=kept(fault.where), towards=kept(fault.towards))
        for fault in plan.faults
        # With no name left, it would be about all nodes.
        if bool(fault.where) == bool(kept(fault.where))
        and bool(fault.towards) == bool(kept(fault.towards))
    )
    return replace(
        smaller,
        faults=tuple(faults),
        clients=tuple(replace(client, at=kept(client.at)) for client in plan.clients),
        roads=tuple(road for road in plan.roads if set(road.between) <= known),
    )


def _fewer_operations(plan: Plan) -> Moves:
    """Look for a limit that is enough among 1, 2, 4, ...; then between it and the one before."""
    for number in range(len(plan.clients)):
        most = min(plan.clients[number].limit, _OPERATIONS_MAX)
        enough = most
        for limit in _powers(most):
            plan = yield _with(plan, "clients", number, limit=limit)
            enough = plan.clients[number].limit
            if enough == limit:
                break
        few = min(enough, most) // 2 if enough <= most else enough
        while enough - few > 1:
            limit = (few + enough) // 2
            plan = yield _with(plan, "clients", number, limit=limit)
            if plan.clients[number].limit == limit:
                enough = limit
            else:
                few = limit


def _fewer_places(plan: Plan) -> Moves:
    """Let each fault be about one node."""
    for number, fault in enumerate(plan.faults):
        for name in fault.where if len(fault.where) > 1 else ():
            plan = yield _with(plan, "faults", number, where=(name,))
            if plan.faults[number].where == (name,):
                break


# -- shorter -------------------------------------------------------------------------------------


def _shorter_trouble(plan: Plan) -> Moves:
    for part in ("trouble", "frozen"):
        while (seconds := _rounded(getattr(plan, part) / 2)) >= _SHORTEST_SECONDS:
            plan = yield _cut_short(_set(plan, part, seconds))
            if getattr(plan, part) != seconds:
                break


def _shorter_warm_up(plan: Plan) -> Moves:
    """Let all begin sooner."""
    while plan.warm_up >= 2 * _SHORTEST_SECONDS:
        by = plan.warm_up - _rounded(plan.warm_up / 2)
        faults = tuple(
            replace(fault, at=_rounded(max(0.0, fault.at - by))) for fault in plan.faults
        )
        sooner = replace(plan, warm_up=_rounded(plan.warm_up - by), faults=faults)
        plan = yield sooner
        if plan != sooner:
            return


def _cut_short(plan: Plan) -> Plan:
    """Leave out what would begin after the heal, and end there what would go on."""
    clients = (
        client
        if client.ends is None or client.ends < plan.healed_at
        else replace(client, ends=None)
        for client in plan.clients
        if client.starts < plan.healed_at
    )
    faults = (
        fault
        if fault.lasts is None or fault.at + fault.lasts < plan.healed_at
        else replace(fault, lasts=None)
        for fault in plan.faults
        if fault.at < plan.warm_up + plan.trouble
    )
    return replace(plan, clients=tuple(clients), faults=tuple(faults))


# -- plainer -------------------------------------------------------------------------------------


def _plainer_cluster(plan: Plan) -> Moves:
    usual: dict[str, Any] = {
        "tuning": Tuning(),
        "bounds": Bounds(),
        "roads": (),
        "start_apart": False,
    }
    usual |= {"sync": 0.0005, "shards": 1, "patience": 30.0}
    plan = yield replace(plan, **usual)
    for name, value in usual.items():
        plan = yield _set(plan, name, value)
    for part in ("tuning", "bounds"):
        for name, value in _defaults(getattr(plan, part)):
            plan = yield _set(plan, part, replace(getattr(plan, part), **{name: value}))


def _plainer_clients(plan: Plan) -> Moves:
    quiet: dict[str, Any] = {
        "retries": 0.0,
        "conditional": 0.0,
        "reads": 0.0,
        "ack_settled": 0.0,
        "starts": 0.0,
    }
    quiet |= {"shape": "mixed", "at": (), "ends": None, "timeout": 4.0}
    for number in range(len(plan.clients)):
        for name, value in quiet.items():
            plan = yield _with(plan, "clients", number, **{name: value})


def _plainer_faults(plan: Plan) -> Moves:
    for number in range(len(plan.faults)):
        for name in ("amount", "every", "lasts"):
            plan = yield _with(plan, "faults", number, **{name: None})


def _rounder_times(plan: Plan) -> Moves:
    times = [("faults", number, name) for number in range(len(plan.faults)) for name in _WHEN]
    times += [("clients", number, "rate") for number in range(len(plan.clients))]
    for part, number, name in times:
        for digits in _DIGITS:
            seconds = getattr(getattr(plan, part)[number], name)
            rounder = None if seconds is None else round(seconds, digits)
            if rounder in (None, seconds) or (name != "at" and not rounder):
                continue
            plan = yield _with(plan, part, number, **{name: rounder})
            if getattr(getattr(plan, part)[number], name) == rounder:
                break


_WHEN = ("at", "lasts")

MOVES: tuple[_Move, ...] = (
    _expect_nothing,
    _fewer_sites,  # first: with few faults and clients left, it takes their timing to fail
    _fewer_nodes,
    _fewer("faults"),
    _fewer("clients"),
    _fewer_operations,
    _fewer_places,
    _shorter_trouble,
    _shorter_warm_up,
    _plainer_cluster,
    _plainer_clients,
    _plainer_faults,
    _rounder_times,
)


# -- small things --------------------------------------------------------------------------------


def _with(plan: Plan, part: str, number: int, **changes: Any) -> Plan:
    """The plan with one of its faults or clients changed."""
    items: tuple[Fault | Client, ...] = getattr(plan, part)
    changed = replace(items[number], **changes)
    return _set(plan, part, (*items[:number], changed, *items[number + 1 :]))


def _set(plan: Plan, name: str, value: Any) -> Plan:
    return replace(plan, **{name: value})


def _powers(below: int) -> Iterator[int]:
    """1, 2, 4, ..."""
    power = 1
    while power < below:
        yield power
        power *= 2


def _defaults(part: Any) -> Iterator[tuple[str, object]]:
    """The fields that are not as usual, and what they usually are."""
    field: Field[Any]
    for field in fields(part):
        if field.default is not MISSING and getattr(part, field.name) != field.default:
            yield field.name, field.default


def _rounded(seconds: float) -> float:
    return round(seconds, 4)
