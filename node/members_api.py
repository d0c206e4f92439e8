"""Who belongs to the cluster, for people and programs: GET and POST /v1/members.

An order names what is to become of whom. With `check` it only says what would happen. Else it is
wanted by this node until it is decided; if that takes longer than `timeout`, the answer is 202, and
it goes on being wanted until it is decided, withdrawn, or this node restarts.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from ..gossip.epoch import Change, Epoch, force_gives_up, needs_force, objection
from ..gossip.epoch import Member as Joined
from ..gossip.frontier import Frontier
from ..storage.errors import BadRequest, ChangeRefused, NotFound, Unavailable
from ..storage.limits import ACK_TIMEOUT_SECONDS_MAX, STALLED_SECONDS
from .changes import change_text, gone_from, under_way
from .suspects import SUSPECTED_AFTER_SECONDS, Suspects, names_of
from .waiting import joined

if TYPE_CHECKING:
    from .node import Node

Answer = tuple[int, dict[str, Any]]
_ORDER_SECONDS: Final = 30.0
_LEAVE_SECONDS: Final = 60.0  # then it begins again, so that it goes on for ever


class Order(msgspec.Struct, forbid_unknown_fields=True):
    """The body of POST /v1/members."""

    action: Literal["join", "leave", "replace", "evict", "withdraw"]
    name: str | list[str] = []
    with_: str | None = msgspec.field(default=None, name="with")
    force: bool = False
    check: bool = False
    timeout: float = _ORDER_SECONDS

    @property
    def names(self) -> list[str]:
        """Whom it is about."""
        return [self.name] if isinstance(self.name, str) else self.name


def read_order(body: bytes) -> Order:
    """Read the body of a request. Raises BadRequest."""
    try:
        order = msgspec.json.decode(body, type=Order)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(
            f'{error}; send {{"action": "join", "leave", "replace", "evict" or '
            '"withdraw", "name": "…"} and if wanted "with", "force", "check", "timeout"'
        ) from None
    if not 0 <= order.timeout <= ACK_TIMEOUT_SECONDS_MAX:
        raise BadRequest(f"timeout is 0 to {ACK_TIMEOUT_SECONDS_MAX:.0f} seconds")
    if order.action == "withdraw":
        return order
    if not order.names:
        raise BadRequest(f"say whom to {order.action}: give `name`")
    if len(order.names) > 1 and order.action in {"leave", "replace"}:
        raise BadRequest(f"{order.action} takes one name")
    if (order.action == "replace") != (order.with_ is not None):
        raise BadRequest("`with` names the node that comes instead: for replace, and only there")
    return order


@dataclass(frozen=True, slots=True)
class CutOff:
    """What is known of the commits that lose their place when a member is removed."""

    name: str
    commits: int  # that it told of, and that nobody who is there holds
    silent_seconds: float

    @property
    def texts(self) -> list[str]:
        """In sentences."""
        name, lost = self.name, _commits(self.commits)
        texts = [
            f"{lost} of {name} are known that nobody who is there holds: they are cut off."
            if self.commits
            else f"All commits of {name} that were told of are held by those who are there."
        ]
        if self.silent_seconds < SUSPECTED_AFTER_SECONDS:
            texts.append(
                f"{name} is there: `anabranch members leave {name}` would cut nothing off."
            )
            return texts
        texts.append(
            f"{name} was last heard {self.silent_seconds:.0f} s ago. What it took since then is "
            "not known here, and is cut off too."
        )
        texts.append(
            f"What is cut off is appended again once {name} comes back as a new member. If its "
            "disk is lost, that is lost."
        )
        return texts


class MembersApi:
    """What one node says of the members, and what it can be told about them."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._leaving: asyncio.Task[None] | None = None

    # -- who is there ----------------------------------------------------------------------------

    def members(self) -> dict[str, Any]:
        """Members, who waits to be one, and what is under way."""
        node, epoch = self._node, self._node.members.epoch
        suspects = {one.name: one for one in suspects_of(node).now()}
        return {
            "node": node.me.name,
            "cluster": node.config.name,
            "epoch": node.members.number,
            **under_way(node),
            "members": [self._member(one.name, suspects) for one in node.members.table],
            "waiting": [
                {
                    "name": one.name,
                    "site": one.site,
                    "url": one.url,
                    "origin": f"{one.origin:016x}",
                    "asks": one.asks,
                }
                for _, one in sorted(node.membership.waiting.items())
            ],
            "removed": [
                {"name": one.member.name, "origin": f"{one.member.origin:016x}"}
                for one in (epoch.removed if epoch is not None else ())
            ],
        }

    def _member(self, name: str, suspects: dict[str, Any]) -> dict[str, Any]:
        node = self._node
        row = member_row(node, name)
        dialer, suspect = node.replication.dialers.get(name), suspects.get(name)
        origin = node.members.origin(name)
        silent = None
        if origin is not None and not row["self"]:
            silent = round(suspects_of(node).silent_seconds(origin), 3)
        return row | {
            "link": None if dialer is None else dialer.state,
            "silent_seconds": silent,
            "suspected_since": None if suspect is None else suspect.since,
            "will_be": None if suspect is None else suspect.will,
        }

    # -- orders ----------------------------------------------------------------------------------

    async def order(self, body: bytes) -> Answer:
        """Carry out an order, or say what it would do: the status of the answer, and its body."""
        order = read_order(body)
        membership = self._node.membership
        if order.action == "withdraw":
            for wanted in list(membership.wanted):
                membership.withdraw(wanted)
            return 200, {"done": True, **self.members()}
        epoch = self._epoch()
        if order.action == "leave":
            return await self._leave(order, epoch)
        if membership.is_outside:
            there = ", ".join(f"{one.name} at {one.url}" for one in self._node.members.others)
            raise ChangeRefused(f"this node is no member of epoch {epoch.number}: ask {there}")
        change = self._change(order, epoch)
        if change is None:
            if order.check:
                return 200, self._checked(Change(), None, ["It is so already."], done=True)
            return 200, {"done": True, **self.members()}
        if order.check:
            return 200, self._check(order, epoch, change)
        return await self._decide(order, epoch, change)

    def _epoch(self) -> Epoch:
        epoch = self._node.members.epoch
        if epoch is None:
            members = self._node.members
            unseen = [one.name for one in members.table if members.origin(one.name) is None]
            raise Unavailable(
                f"the cluster is forming: members can be changed once {', '.join(unseen)} "
                "were seen. Start them, or take them out of all files"
            )
        return epoch

    def _change(self, order: Order, epoch: Epoch) -> Change | None:
        """What is to be decided; None if it is so already."""
        match order.action:
            case "join":
                rows = [self._joining(name, epoch) for name in order.names]
                joining = tuple(row for row in rows if row is not None)
                return Change(join=joining) if joining else None
            case "replace" if order.with_ is not None:
                old = self._removing(order.names[0], epoch)
                new = self._joining(order.with_, epoch)
                if new is None:
                    raise ChangeRefused(
                        f"{order.with_} is a member already: evict {order.names[0]}"
                    )
                return Change(join=(new,), remove=(old,))
            case _:
                names = order.names
                if order.force and self._lost_for_all(epoch):  # who is out already may be named
                    out = {one.member.name for one in epoch.removed}
                    out -= {one.name for one in epoch.members}
                    names = [name for name in names if name not in out]
                return Change(remove=tuple(self._removing(name, epoch) for name in names))

    def _joining(self, name: str, epoch: Epoch) -> Joined | None:
        waiting = self._node.membership.waiting
        if name in waiting:
            return joined(waiting[name])
        if any(one.name == name for one in epoch.members):
            return None
        raise NotFound(
            f"no node named {name[:100]!r} waits to join; there wait: {_list(sorted(waiting))}. "
            "Start it with a file that names itself and a member, and ask again in a moment"
        )

    def _removing(self, name: str, epoch: Epoch) -> int:
        if name == self._node.me.name:
            raise ChangeRefused(f"this is {name}: use leave, or ask another member")
        for one in epoch.members:
            if one.name == name:
                return one.origin
        names = _list([one.name for one in epoch.members])
        raise NotFound(f"no member is named {name[:100]!r}; the members are {names}")

    # -- what would happen -----------------------------------------------------------------------

    def _needs_force(self, epoch: Epoch) -> str | None:
        """Why no change can be agreed on now; None if one can."""
        return needs_force(epoch, gone_from(self._node, epoch)) or self._lost_for_all(epoch)

    def _lost_for_all(self, epoch: Epoch) -> str | None:
        """What all members have to hold, and nobody has who can be reached; None if it is had.

        Who waits to join may be the one who made it, and has come back.
        """
        node, standings = self._node, self._node.settler.standings
        reached = {*epoch.origins} - {node.store.origin, *gone_from(self._node, epoch)}
        reached |= {one.origin for one in node.membership.waiting.values()}
        lacking = epoch.lacks(node.store.frontier)
        for origin in reached:
            if origin not in standings:
                return None
            lacks = epoch.lacks(standings.of(origin).frontier)
            lacking = {log: min(n, lacks[log]) for log, n in lacking.items() if log in lacks}
        if not lacking:
            return None
        names = {node.members.name(origin) or f"{origin:016x}" for _, origin in lacking}
        return (
            f"{_commits(sum(lacking.values()))} of {_list(sorted(names))}, which every member has "
            "to hold: nobody who can be reached has that. Start whoever may have it, or give it up "
            "with --force"
        )

    def _says_of_joining(self, one: Joined) -> str:
        node, standings = self._node, self._node.settler.standings
        theirs = standings.of(one.origin).frontier if one.origin in standings else Frontier()
        rows = node.store.frontier.items()
        lacking = sum(max(0, node.members.end(log, seq) - theirs[log]) for log, seq in rows)
        becomes = f"{one.name} at {one.url}, site {one.site}, becomes a member. "
        if not lacking:
            return becomes + "It has copied all that this node holds."
        return becomes + (
            f"It lacks {_commits(lacking)} that this node holds: nothing becomes final before it "
            "has copied them."
        )

    def _check(self, order: Order, epoch: Epoch, change: Change) -> dict[str, Any]:
        against = objection(epoch, change)
        needs = self._needs_force(epoch)
        cut_off = [self._cut_off(epoch, origin) for origin in change.remove]
        gives_up = force_gives_up(epoch, change) if needs is not None else []
        says = [text for one in cut_off for text in one.texts]
        says += [self._says_of_joining(one) for one in change.join]
        sites = {one.site for one in epoch.members if one.origin not in change.remove}
        sites |= {one.site for one in change.join}
        gone_sites = sorted({one.site for one in epoch.members} - sites)
        says += [f"Site {site} has no member then." for site in gone_sites]
        if needs is not None and order.force:
            says += [f"{needs}.", *gives_up]
            says += self._missing_for_force(epoch, change)
        checked = self._checked(change, against, says, needs_force=needs, forced=order.force)
        return checked | {
            "cut_off": [
                {"name": one.name, "commits": one.commits, "silent_seconds": one.silent_seconds}
                for one in cut_off
            ],
            "gives_up": gives_up,
        }

    def _checked(
        self,
        change: Change,
        against: str | None,
        says: list[str],
        *,
        done: bool = False,
        needs_force: str | None = None,
        forced: bool = False,
    ) -> dict[str, Any]:
        """The answer to a check."""
        return {
            "done": done,
            "epoch": self._node.members.number,
            "change": change_text(self._node.members, change),
            "objection": against,
            "needs_force": needs_force,
            "possible": against is None and (needs_force is None or forced),
            "cut_off": [],
            "gives_up": [],
            "says": says,
        }

    def _missing_for_force(self, epoch: Epoch, change: Change) -> list[str]:
        left = names_of(epoch, {*gone_from(self._node, epoch)} - {*change.remove})
        if not left:
            return []
        names = ", ".join(left)
        text = f"All who are left have to answer, and {names} can't be reached: start them, "
        return [text + "or evict them in the same command."]

    def _cut_off(self, epoch: Epoch, origin: int) -> CutOff:
        """What is known here only of those who are gone, in the logs of a member."""
        node = self._node
        gone = {origin, *gone_from(self._node, epoch)}
        standings = node.settler.standings
        frontiers = {one: standings.of(one).frontier for one in epoch.origins if one in standings}
        frontiers[node.store.origin] = node.store.frontier
        told: dict[int, int] = {}
        held: dict[int, int] = {}
        for of, frontier in frontiers.items():
            best = told if of in gone else held
            for (shard, log_of), seq in frontier.items():
                if log_of == origin:
                    best[shard] = max(seq, best.get(shard, 0))
        commits = sum(max(0, seq - held.get(shard, 0)) for shard, seq in told.items())
        silent = suspects_of(node).silent_seconds(origin)
        return CutOff(epoch.joined[origin].name, commits, round(silent, 3))

    # -- what is done ----------------------------------------------------------------------------

    async def _decide(self, order: Order, epoch: Epoch, change: Change) -> Answer:
        against = objection(epoch, change)
        if against is not None:
            raise ChangeRefused(against)
        if order.force and self._needs_force(epoch) is not None:
            done = await self._force(change, order.timeout)
        else:
            done = await self._node.membership.until(change, order.timeout)
        if done:
            return 200, {"done": True, **self.members()}
        return 202, {"done": False, "why": self._why(change), **self.members()}

    async def _force(self, change: Change, seconds: float) -> bool:
        """Decide without a majority; what one of them had accepted before comes first."""
        membership, before = self._node.membership, self._node.members.number
        while seconds > 0:
            await membership.force(change)
            if await membership.until(change, min(seconds, 2 * STALLED_SECONDS), after=before):
                return True
            seconds -= 2 * STALLED_SECONDS
        membership.withdraw(change)
        return False

    def _why(self, change: Change) -> str:
        """Why a change is not decided yet."""
        membership, epoch = self._node.membership, self._epoch()
        away = names_of(epoch, {*gone_from(self._node, epoch)} - {*change.remove})
        why = self._needs_force(epoch)
        if change not in membership.wanted:
            return f"it was not decided in time: {_list(away)} did not answer. Ask again"
        if why is not None and away:
            why = f"{why} ({', '.join(away)} can't be reached)"
        if why is None and membership.epochs is not None:
            why = membership.epochs.hindrance(membership.here)
        return (
            f"{why or 'it is not decided yet'}. This node goes on wanting it until it is decided, "
            "withdrawn, or this node restarts"
        )

    # -- leaving ---------------------------------------------------------------------------------

    async def _leave(self, order: Order, epoch: Epoch) -> Answer:
        node, name = self._node, order.names[0]
        if name != node.me.name:
            self._sent_to_another(name, epoch)
        if order.force:
            raise BadRequest("who leaves hands over first, so there is no force: evict it instead")
        if node.membership.is_outside:
            return 200, {"done": True, **self.members()}
        change = Change(remove=(node.store.origin,))
        if order.check:
            return 200, self._check_leave(epoch, change)
        against = objection(epoch, change)
        if against is not None:
            raise ChangeRefused(against)
        if self._leaving is None or self._leaving.done():
            self._leaving = asyncio.get_running_loop().create_task(self._leave_for_good())
        await asyncio.wait([self._leaving], timeout=order.timeout)
        if self._leaving.done():
            self._leaving.result()
            return 200, {"done": True, **self.members()}
        return 202, {"done": False, "why": self._why_still_here(), **self.members()}

    async def _leave_for_good(self) -> None:
        while not await self._node.membership.leave(_LEAVE_SECONDS):
            pass

    def _sent_to_another(self, name: str, epoch: Epoch) -> None:
        for one in self._node.members.table:
            if one.name == name:
                raise BadRequest(f"{name} has to do that itself: send this to {one.url}")
        names = _list([one.name for one in epoch.members])
        raise NotFound(f"no member is named {name[:100]!r}; the members are {names}")

    def _check_leave(self, epoch: Epoch, change: Change) -> dict[str, Any]:
        me = self._node.me
        needs, lost = needs_force(epoch, gone_from(self._node, epoch)), self._lost_for_all(epoch)
        text = (
            f"{me.name} takes no more appends from now on, and goes once a majority of the others"
        )
        says = [f"{text} holds all that it has. Nothing is cut off."]
        if not any(one.site == me.site and one.name != me.name for one in epoch.members):
            says.append(f"Site {me.site} has no member then.")
        if needs is not None:
            away = ", ".join(names_of(epoch, gone_from(self._node, epoch)))
            says.append(f"It has to wait for {away}: without them there is no majority.")
        elif lost is not None:
            says.append(f"It has to wait. {lost}.")
        return self._checked(change, objection(epoch, change), says)

    def _why_still_here(self) -> str:
        epoch = self._epoch()
        away = names_of(epoch, gone_from(self._node, epoch))
        left = self._node.store.left
        step = "waits for the others to agree" if left else "hands over what it has"
        if away:
            step += f", and {', '.join(away)} can't be reached"
        return f"this node {step}. It goes on, and takes no appends, until it restarts"


def suspects_of(node: Node) -> Suspects:
    """The suspected members, as a node sees them."""
    evict_after = node.config.tuning.evict_after_seconds
    return Suspects(node.members, node.membership, evict_after, node.clock)


def member_row(node: Node, name: str) -> dict[str, Any]:
    """A member as status and members show it."""
    member = node.members.member(name)
    origin = node.members.origin(name)
    return {
        "name": name,
        "site": member.site,
        "priority": member.priority,
        "url": member.url,
        "origin": None if origin is None else f"{origin:016x}",
        "self": name == node.me.name,
    }


def _list(names: list[str]) -> str:
    return ", ".join(names) or "nobody"


def _commits(number: int) -> str:
    return f"{number} commit{'s' if number != 1 else ''}"
