"""What may be expected of a plan in which nothing goes wrong, or one clock alone."""

from __future__ import annotations

from math import inf

from ..history import Calm
from .plan import Plan

_WIDE_BYTES = 100_000
_PUSH_BYTES = 1000
_BEAT_SECONDS = 0.5
_LATENCY_SECONDS = 0.3  # one way; beyond that no bound in seconds means anything
_WITHIN_SECONDS = 2.0  # several round trips and heartbeats of the slowest plan
_LINKED_SECONDS = 1.0  # until all links are up
_AGAIN_SECONDS = 1.5  # until a cut is over for all that was on its way
_RATE_QUIET = 5.0  # appends a second, of which few meet
_MANY = 3  # with so many members one clock moves no median
_SYNCS = 20


def calm_of(plan: Plan) -> Calm | None:
    """Where in a plan nobody has an excuse: all beats are quick, and windows let everything by."""
    if plan.start_apart or _is_narrow(plan) or plan.tuning.heartbeat_seconds > _BEAT_SECONDS:
        return None
    if any(road.loss or road.latency > _LATENCY_SECONDS for road in plan.roads):
        return None
    if not plan.faults:
        within = _within(plan)
        met_within = 2 * within + plan.tuning.heartbeat_seconds
        return Calm(frozenset(plan.nodes), within, _LINKED_SECONDS, met_within=met_within)
    return _but_for_a_clock(plan)


def _is_narrow(plan: Plan) -> bool:
    pull, push = plan.bounds.pull_bytes, plan.bounds.push_bytes
    narrow = plan.tuning.push_window_bytes < _WIDE_BYTES or (pull or _WIDE_BYTES) < _WIDE_BYTES
    narrow |= plan.tuning.pull_bytes_per_second < _WIDE_BYTES
    narrow |= (push or _WIDE_BYTES) < _PUSH_BYTES  # one push in a round trip
    return narrow or any(road.bandwidth is not None for road in plan.roads)


def _within(plan: Plan) -> float:
    """Little more than a round trip to the farthest member, where little is written (DESIGN 5)."""
    alone = all(site.nodes == 1 for site in plan.sites)  # what a mate passes on takes longer
    rate = sum(client.rate for client in plan.clients)
    if not alone or rate > _RATE_QUIET or any(road.tail for road in plan.roads):
        return _WITHIN_SECONDS
    one_way = max((road.latency * (1 + road.jitter) for road in plan.roads), default=0.0)
    return 3 * one_way + _SYNCS * plan.sync


def _but_for_a_clock(plan: Plan) -> Calm | None:
    """One clock is ahead, once: that is the trouble of its own node alone (DESIGN 4).

    Also if that one is cut off: all wait for it then, and still nobody else may refuse anything.
    """
    fault, *more = sorted(plan.faults, key=lambda one: one.kind != "clock")
    nodes = plan.among(fault.where)
    ahead = fault.kind == "clock" and (fault.amount or 0.0) > 0
    other = [cut for cut in more if cut.kind != "cut" or cut.where != fault.where or cut.towards]
    if other or not ahead or len(nodes) > 1 or len(plan.nodes) < _MANY:
        return None
    ends = plan.healed_at if fault.lasts is None else fault.at + fault.lasts
    fast = (nodes[0], fault.at, ends) if _is_far_ahead(plan, fault.amount or 0.0) else None
    over = max((inf if cut.lasts is None else cut.at + cut.lasts for cut in more), default=0.0)
    waits_until = over + _AGAIN_SECONDS if more else 0.0
    others = frozenset(plan.nodes) - {*nodes}
    return Calm(others, _WITHIN_SECONDS, _LINKED_SECONDS, fast, waits_until=waits_until)


def _is_far_ahead(plan: Plan, seconds: float) -> bool:
    """Whether it shows through whatever a message takes."""
    one_way = max((road.latency * (1 + road.jitter) for road in plan.roads), default=0.0)
    return 1000 * (seconds - 2 * one_way) > plan.tuning.max_clock_offset_ms
