"""Stories: plans that a person reads and writes, as TOML.

`title` and `why` come first, then `seed` and the phases, [cluster], [[site]], [[road]], [[client]],
[[fault]] and [expect]. Every key is optional but names, `between`, `kind`, `at` of a fault and
`seed`; what is left out is as in plan.py. Lengths of time are texts as "90s" or "1h 30m"; where
places are listed, one may stand alone. A road's latency and how long a fault lasts may be
"measured": drawn from recordings, by the story's seed.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields, replace
from itertools import combinations
from random import Random as Generator
from typing import Any

from ...node.config import Tuning
from ...storage.errors import ConfigError
from ...storage.limits import MEMBERS_MAX
from ..claims import nearest, places
from ..expectations import claims
from .bounds import Bounds
from .durations import duration_text
from .kinds import KINDS
from .measured import outage_seconds, planetlab_rtt_seconds
from .plan import Client, Fault, Plan, Road, Site
from .story_keys import BOUNDS, CLUSTER, HEAD, PHASES, PLAN, SEED, TABLES, TUNING, Key
from .toml import inline

MEASURED = "measured"

_COMES_AND_GOES = frozenset({"flap", "strobe"})


def read_story(text: str, name: str, *, real: bool = False) -> Plan:
    """Read a story, for a simulated world or for real processes.

    Raises ConfigError with its name, the key, the value and what to write.
    """
    try:
        plan = _plan(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name} is not TOML: {error}") from None
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from None
    elsewhere, needs, command = ("real", "real processes", "chaos")
    if real:
        elsewhere, needs, command = ("simulated", "a simulated world", "simulate")
    for fault in plan.faults:
        if KINDS[fault.kind].only == elsewhere:
            raise ConfigError(
                f"{name}: {fault.kind!r} needs {needs}; run this with `anabranch {command}`"
            )
    return plan


def write_story(plan: Plan) -> str:
    """Write a plan, so that it is read as exactly the same."""
    parts = [_lines(plan, HEAD), [_line(SEED, plan), *_lines(plan, PHASES)]]
    cluster = [*_lines(plan, CLUSTER), *_lines(plan.tuning, TUNING)]
    cluster += _lines(plan.bounds, BOUNDS)
    if cluster:
        parts.append(["[cluster]", *cluster])
    for table, keys in TABLES.items():
        parts += [[f"[[{table}]]", *_lines(one, keys)] for one in getattr(plan, f"{table}s")]
    if plan.expect:
        parts.append(["[expect]", *(f"{key} = {inline(of)}" for key, of in plan.expect.items())])
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


# -- reading -------------------------------------------------------------------------------------


def _plan(document: dict[str, Any]) -> Plan:
    _known(document, {key.name for key in PLAN} | {"cluster", "expect", *TABLES}, "")
    head = {key: of for key, of in document.items() if key in {one.name for one in PLAN}}
    given = _values(head, PLAN, "", Plan)
    cluster = _table(document.get("cluster", {}), "[cluster]")
    _known(cluster, {key.name for key in (*CLUSTER, *TUNING, *BOUNDS)}, "[cluster]: ")
    given |= _values(cluster, CLUSTER, "[cluster]: ", None)
    given["tuning"] = Tuning(**_values(cluster, TUNING, "[cluster]: ", None))
    given["bounds"] = Bounds(**_values(cluster, BOUNDS, "[cluster]: ", None))
    for table, kind in (("site", Site), ("client", Client)):
        rows = _rows(document, table)
        read = [_values(row, TABLES[table], where, kind) for where, row in rows]
        given[f"{table}s"] = tuple(kind(**values) for values in read)
    plan = Plan(**given)
    _check(plan)
    plan = replace(plan, roads=_roads(plan, _rows(document, "road")))
    plan = replace(plan, faults=_faults(plan, _rows(document, "fault")))
    if len(plan.late) == len(plan.nodes):
        raise ValueError("every node joins; write in `where` of a 'join' only who comes later")
    expect = _table(document.get("expect", {}), "[expect]")
    for key, value in expect.items():
        try:
            claims(plan, key, value)
        except ValueError as error:
            raise ValueError(f"[expect]: {key} is {value!r}; {error}") from None
    return replace(plan, expect=expect) if expect else plan


def _table(given: Any, what: str) -> dict[str, Any]:
    if isinstance(given, dict):
        return given
    raise ValueError(f"{what} is {given!r}; write it as a table")


def _rows(document: dict[str, Any], table: str) -> list[tuple[str, dict[str, Any]]]:
    """The tables of an array, each with what an error calls it."""
    rows = document.get(table, [])
    if type(rows) is not list:
        raise ValueError(f"[{table}] stands alone; write it as [[{table}]]")
    found = []
    for number, row in enumerate(rows, 1):
        where = f"[[{table}]] {number}: "
        _known(_table(row, where[:-2]), {key.name for key in TABLES[table]}, where)
        found.append((where, row))
    return found


def _known(table: Iterable[str], known: set[str], where: str) -> None:
    for key in table:
        if key not in known:
            raise ValueError(f"{where}{key!r} means nothing; {nearest(key, known)}")


def _values(
    table: Mapping[str, Any], keys: tuple[Key, ...], where: str, of: type[Any] | None
) -> dict[str, Any]:
    """Arguments for what a table describes; `of` has no default for what must be there."""
    needed = {one.name for one in (fields(of) if of else ()) if one.default is MISSING}
    needed &= {one.name for one in (fields(of) if of else ()) if one.default_factory is MISSING}
    found = {}
    for key in keys:
        attribute = key.attribute or key.name
        if key.name in table:
            try:
                found[attribute] = key.codec.read(table[key.name])
            except ValueError as error:
                raise ValueError(f"{where}{key.name} is {table[key.name]!r}; {error}") from None
        elif attribute in needed:
            raise ValueError(f"{where}there is no `{key.name}`; it can't be left out")
    return found


def _roads(plan: Plan, rows: list[tuple[str, dict[str, Any]]]) -> tuple[Road, ...]:
    names = [site.name for site in plan.sites]
    luck = Generator(f"measured latencies {plan.seed}")
    trips = planetlab_rtt_seconds(luck, len(names)) if _measured(rows, "latency") else []
    roads: list[Road] = []
    for where, row in rows:
        road = Road(**_values(_without(row, "latency"), TABLES["road"], where, Road))
        for name in road.between:
            if name not in names:
                raise ValueError(f"{where}there is no site {name!r}; {nearest(name, names)}")
        if any(set(road.between) == set(other.between) for other in roads):
            raise ValueError(f"{where}there is a road {' - '.join(road.between)} already")
        if row.get("latency") == MEASURED:
            here, there = map(names.index, road.between)
            road = replace(road, latency=trips[here][there] / 2)
        roads.append(road)
    return tuple(roads)


def _faults(plan: Plan, rows: list[tuple[str, dict[str, Any]]]) -> tuple[Fault, ...]:
    luck = Generator(f"measured outages {plan.seed}")
    faults = []
    for where, row in rows:
        fault = Fault(**_values(_without(row, "lasts"), TABLES["fault"], where, Fault))
        try:
            _check_fault(plan, fault)
        except ValueError as error:
            raise ValueError(f"{where}{error}") from None
        if row.get("lasts") == MEASURED:
            fault = replace(fault, lasts=min(outage_seconds(luck), plan.healed_at - fault.at))
        faults.append(fault)
    return tuple(faults)


def _measured(rows: list[tuple[str, dict[str, Any]]], key: str) -> bool:
    return any(row.get(key) == MEASURED for _, row in rows)


def _without(row: dict[str, Any], key: str) -> dict[str, Any]:
    return {k: value for k, value in row.items() if k != key or value != MEASURED}


# -- what would make no sense --------------------------------------------------------------------


def _check(plan: Plan) -> None:
    if not plan.sites:
        raise ValueError("there is no [[site]]; a story needs one, with a `name`")
    if len(plan.nodes) > MEMBERS_MAX:
        raise ValueError(f"{len(plan.nodes)} nodes; {MEMBERS_MAX} are the most")
    if not plan.trouble:
        raise ValueError('trouble is "0s"; write how long faults may begin, as "5m"')
    for first, second in combinations([site.name for site in plan.sites], 2):
        if first == second:
            raise ValueError(f"two sites are named {first!r}; rename one")
    for first, second in combinations([client.name for client in plan.clients], 2):
        if first == second:
            raise ValueError(f"two clients are named {first!r}; rename one")
    for one in plan.clients:
        try:
            places(plan, list(one.at))
        except ValueError as error:
            raise ValueError(f"client {one.name!r}: {error}") from None


def _check_fault(plan: Plan, fault: Fault) -> None:
    kind = KINDS[fault.kind]
    places(plan, [*fault.where, *fault.towards])
    if fault.at >= plan.healed_at:
        at, heal = duration_text(fault.at), duration_text(plan.healed_at)
        raise ValueError(f'at is "{at}", but all is healed at "{heal}"; write an earlier time')
    if fault.towards and kind.family != "network":
        raise ValueError(f"`towards` is for links, which {fault.kind!r} is not about; leave it out")
    if fault.every is not None and fault.kind not in _COMES_AND_GOES:
        raise ValueError(f"`every` means nothing for {fault.kind!r}, which does not come and go")
    if fault.every == 0:
        raise ValueError('every is "0s"; write how long one round takes, as "2s"')
    if fault.kind == "join" and fault.lasts is not None:
        raise ValueError("`lasts` means nothing for 'join': who has joined stays; leave it out")
    if fault.point is not None and fault.kind != "kill-at":
        raise ValueError(f"`point` means nothing for {fault.kind!r}; leave it out")
    if fault.amount is None:
        return
    if kind.amount is None:
        raise ValueError(f"`amount` means nothing for {fault.kind!r}; leave it out")
    if kind.unit.startswith("share") and not 0 <= fault.amount <= 1:
        raise ValueError(f"amount is {fault.amount:g}; it is a {kind.unit}, so write 0.0 to 1.0")
    if kind.unit.startswith(("times", "bytes")) and fault.amount <= 0:
        raise ValueError(f"amount is {fault.amount:g}; it is {kind.unit}, so write more than 0")


# -- writing -------------------------------------------------------------------------------------


def _lines(thing: Any, keys: Iterable[Key]) -> list[str]:
    """What differs from the default."""
    usual = {one.name: one.default for one in fields(thing)}
    found = []
    for key in keys:
        value = key.of(thing)
        if value != usual[key.attribute or key.name]:
            found.append(_line(key, thing))
    return found


def _line(key: Key, thing: Any) -> str:
    return f"{key.name} = {key.codec.write(key.of(thing))}"
