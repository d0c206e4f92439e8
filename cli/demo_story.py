"""The demo, act by act: write, cut, write on, heal, write on, settle, read everything back.

All writing goes through HTTP as a user's would, all that is shown comes from the nodes' own status,
and the cut is made by the nodes' links. The story only gathers; `demo_checks` judges.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol, Self

from . import demo_checks
from .client import Client
from .comparison import same_digests
from .demo_checks import Check, Evidence, Lost, Seen, Sent, Told, Tried, WhileCut
from .demo_cluster import Site
from .demo_plan import CUT_SITE, RIVAL_SITE, Contest, Planned, cancellation, contests, thirds
from .errors import CommandError, NodeRefused, NodeUnreachable
from .lanes import Job, Lanes
from .model import Event, Status
from .order_book import BookSummary

CONNECTIONS = 16  # for each site
LOOK_SECONDS = 0.25  # between two looks at the nodes' status
CUT_SECONDS = 600.0  # it is healed long before; only if the demo dies does it heal by itself
LINKS_SECONDS = 10.0  # for links to be seen cut, and for a contested order to be everywhere
HELD_SECONDS = 3.0  # a watermark is called late well before this
SETTLE_SECONDS = 60.0
SETTLE_SECONDS_UNHEALED = 3.0  # there is nothing to wait for
HOP_SECONDS = 0.002  # between two events of an order at two sites: more than a tick of their clocks
TRIES_MAX = 50
RETRY_SECONDS = 0.1

ACTS = ("before", "while cut", "after")


class View(Protocol):
    """What the audience sees while it lasts."""

    def act(self, title: str, events: int) -> None:
        """Begin an act in which so many events are written."""

    def written(self, site: str) -> None:
        """One event was acknowledged."""

    def statuses(self, seen: dict[str, Status]) -> None:
        """Show what the nodes say of themselves."""

    def note(self, text: str) -> None:
        """Say something that stays."""


@dataclass
class Outcome:
    """What happened, for the report."""

    written: dict[str, Counter[str]] = field(
        default_factory=lambda: {act: Counter() for act in ACTS}
    )
    again: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=dict)
    while_cut: list[Status] = field(default_factory=list)
    caught_up_seconds: float | None = None
    settled_seconds: float | None = None
    winners: Counter[str] = field(default_factory=Counter)
    contested: int = 0
    told: list[Told] = field(default_factory=list)
    hashes: dict[str, str] = field(default_factory=dict)
    books: dict[str, BookSummary] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)

    @property
    def well(self) -> bool:
        """Whether every check said yes."""
        return bool(self.checks) and not any(check.problems for check in self.checks)


class Story:
    """Tells the demo on a cluster that is ready; use it as `async with Story(...)`."""

    def __init__(
        self, sites: Sequence[Site], planned: Sequence[Planned], view: View, *, heal: bool = True
    ) -> None:
        self._planned = planned
        self._view = view
        self._heals = heal
        self._nodes = {
            site.name: Client(site.url, timeout=30.0, connections=CONNECTIONS + 4) for site in sites
        }
        self._names = {site.name: site.node for site in sites}
        self._sent: list[Sent | None] = [None] * len(planned)
        self._last_place: dict[str, tuple[str, float]] = {}
        self._seen: dict[str, Status] = {}
        self._tried: list[Tried] = []
        self._healed_at: tuple[float, datetime] | None = None
        self._stack = AsyncExitStack()
        self.outcome = Outcome()

    async def __aenter__(self) -> Self:
        for node in self._nodes.values():
            await self._stack.enter_async_context(node)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def tell(self) -> Outcome:
        """All acts, and the judgement."""
        looking = asyncio.create_task(self._look())
        try:
            await self._acts()
        finally:
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking
        return self.outcome

    async def _acts(self) -> None:
        cut_at, heal_at = thirds(len(self._planned))
        fights = contests(self._planned, cut_at)
        self.outcome.contested = len(fights)
        await self._write("before", self._planned[:cut_at])
        await self._everywhere(fights)
        await self._cut()
        await self._write("while cut", self._planned[cut_at:heal_at], fights)
        self.outcome.while_cut = await self._just_before_the_heal()
        await self._heal()
        await self._write("after", self._planned[heal_at:])
        await self._settle()
        await self._read_back()
        self._judge()

    # Writing

    async def _write(
        self, act: str, events: Sequence[Planned], fights: Sequence[Contest] = ()
    ) -> None:
        self._view.act(act, len(events))
        begun = self._now()
        middle = len(events) // 2
        async with Lanes(list(self._nodes), CONNECTIONS) as lanes:
            for index, event in enumerate(events):
                if index == middle and fights:
                    await self._fight(fights)
                await lanes.put(event.site, event.stream, self._job(act, event))
        self.outcome.seconds[act] = self._now() - begun

    def _job(self, act: str, event: Planned) -> Job:
        async def job() -> None:
            await self._hop(event)
            commit = await self._append(event.site, event)
            self._last_place[event.stream] = (event.site, self._now())
            self._sent[event.number] = Sent(
                event.stream, event.event_id, event.type, event.data, commit
            )
            self.outcome.written[act][event.site] += 1
            self._view.written(event.site)
            if event.again is not None:
                await self._again(event.again, event, commit)

        return job

    async def _hop(self, event: Planned) -> None:
        """Let the clocks tick between two events of an order at two sites."""
        site, at = self._last_place.get(event.stream, (event.site, 0.0))
        wait = at + HOP_SECONDS - self._now()
        if site != event.site and wait > 0:
            await asyncio.sleep(wait)

    async def _again(self, site: str, event: Planned, commit: str) -> None:
        second = await self._append(site, event)
        self.outcome.again[site] += 1
        if second != commit:
            raise CommandError(
                f"The same request got commit {commit} at {event.site} and {second} at {site}."
            )

    async def _append(self, site: str, event: Planned) -> str:
        headers = {"Idempotency-Key": event.key}
        for _ in range(TRIES_MAX):
            try:
                _, answer, _ = await self._nodes[site].append(
                    event.stream, event.body, headers=headers
                )
            except NodeRefused as refused:
                if not refused.passing:
                    raise
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return answer.commit
        raise CommandError(f"{self._names[site]} took no event in {TRIES_MAX} tries.")

    # The fight for the same orders

    async def _everywhere(self, fights: Sequence[Contest]) -> None:
        """Wait until both rivals see the orders that they will fight for."""
        deadline = self._now() + LINKS_SECONDS
        for fight in fights:
            for site in (CUT_SITE, RIVAL_SITE):
                while await self._last_revision(site, fight.stream) < fight.expected:
                    if self._now() > deadline:
                        raise CommandError(
                            f"{self._names[site]} does not have {fight.stream} "
                            f"{LINKS_SECONDS:.0f} s after it was written elsewhere."
                        )
                    await asyncio.sleep(LOOK_SECONDS)

    async def _last_revision(self, site: str, stream: str) -> int:
        try:
            page = await self._nodes[site].read(stream, [("limit", "1")])
        except NodeRefused as refused:
            if refused.code == 404:
                return -1
            raise
        return -1 if page.last_revision is None else page.last_revision

    async def _fight(self, fights: Sequence[Contest]) -> None:
        rivals = (CUT_SITE, RIVAL_SITE)
        for number, fight in enumerate(fights):
            first, second = rivals if number % 2 else rivals[::-1]
            commits: dict[str, str] = {}
            for site in (first, second):
                commits |= await self._cancel(site, fight)
                await asyncio.sleep(HOP_SECONDS)
            self._tried.append(Tried(fight.stream, commits))
        self._view.note(
            f"{CUT_SITE} and {RIVAL_SITE} both cancelled the same {len(fights)} open orders, "
            "and both were told yes"
        )

    async def _cancel(self, site: str, fight: Contest) -> dict[str, str]:
        event_id, body = cancellation(fight, site)
        try:
            _, answer, _ = await self._nodes[site].append(
                fight.stream,
                body,
                query={"expected": str(fight.expected)},
                headers={"Idempotency-Key": f"cancel-{fight.stream}-{site}"},
            )
        except NodeRefused as refused:
            if refused.code == 409:
                return {}
            raise
        return {event_id: answer.commit}

    # The cut, the heal, and the end

    async def _cut(self) -> None:
        await self._drill(CUT_SECONDS)
        deadline = self._now() + LINKS_SECONDS
        while not all(_links_cut(said) for said in (await self._statuses()).values()):
            if self._now() > deadline:
                return  # the checks will say which link was open
            await asyncio.sleep(LOOK_SECONDS)
        self._view.note(f"{CUT_SITE} is cut off: its links are refused in both directions")

    async def _just_before_the_heal(self) -> list[Status]:
        """The nodes' status; a cut too short for the watermark to be late is made longer."""
        deadline = self._now() + HELD_SECONDS
        while True:
            said = list((await self._statuses()).values())
            if all(one.watermark.held_back_by for one in said) or self._now() > deadline:
                return said
            await asyncio.sleep(LOOK_SECONDS)

    async def _heal(self) -> None:
        if not self._heals:
            self._view.note("The cut is left as it is (--no-heal)")
            return
        for node in self._nodes.values():
            await node.drill([], 0)
        self._healed_at = (self._now(), datetime.now(UTC))
        self._view.note(f"{CUT_SITE} is back")

    async def _drill(self, seconds: float) -> None:
        others = [site for site in self._nodes if site != CUT_SITE]
        for site, node in self._nodes.items():
            await node.drill(others if site == CUT_SITE else [CUT_SITE], seconds)

    async def _settle(self) -> None:
        self._view.act("settling", 0)
        begun = self._now()
        patience = SETTLE_SECONDS if self._heals else SETTLE_SECONDS_UNHEALED
        while not await self._is_settled():
            if self._now() - begun > patience:
                self._view.note(f"Not everything is settled after {patience:.0f} s")
                return
            await asyncio.sleep(LOOK_SECONDS / 5)
        self.outcome.settled_seconds = self._now() - begun
        if self._healed_at and self.outcome.caught_up_seconds is None:
            self.outcome.caught_up_seconds = self._now() - self._healed_at[0]

    async def _is_settled(self) -> bool:
        digests = await asyncio.gather(*(node.digest() for node in self._nodes.values()))
        nothing_tentative = all(digest.tentative_commits == 0 for digest in digests)
        return nothing_tentative and same_digests(digests)

    # Looking

    async def _look(self) -> None:
        """Follow the nodes' status, and note when the time of the heal is settled everywhere."""
        while True:
            with suppress(NodeUnreachable, NodeRefused):
                self._view.statuses(await self._statuses())
            if self._healed_at and self.outcome.caught_up_seconds is None:
                begun, wall = self._healed_at
                if all(_settled_up_to(said, wall) for said in self._seen.values()):
                    self.outcome.caught_up_seconds = self._now() - begun
                    self._view.note("All that was written during the cut is settled everywhere")
            await asyncio.sleep(LOOK_SECONDS)

    async def _statuses(self) -> dict[str, Status]:
        said = await asyncio.gather(*(node.status() for node in self._nodes.values()))
        self._seen = dict(zip(self._nodes, said, strict=True))
        return self._seen

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    # Reading back

    async def _read_back(self) -> None:
        self._view.act("reading back", 0)
        told = await asyncio.gather(*(self._told(site) for site in self._nodes))
        self.outcome.told = list(told)

    async def _told(self, site: str) -> Told:
        node = self._nodes[site]
        history = [_seen(event) async for page in node.history() for event in page]
        digest = await node.digest()
        return Told(
            name=self._names[site],
            site=site,
            digest=digest.settled.hash,
            settled_commits=digest.settled.commits,
            tentative=digest.tentative_commits,
            history=history,
            conflicts=await self._conflicts(node),
        )

    @staticmethod
    async def _conflicts(node: Client) -> list[Lost]:
        found: list[Lost] = []
        after: str | None = None
        while True:
            page = await node.conflicts(after)
            found += [Lost(one.stream, one.commit, one.winner) for one in page.conflicts]
            if page.end or not page.conflicts:
                return found
            after = page.next or page.conflicts[-1].position

    def _judge(self) -> None:
        made = self.outcome
        made.hashes = {told.name: demo_checks.history_hash(told.history) for told in made.told}
        made.books = {told.name: demo_checks.book_of(told.history) for told in made.told}
        evidence = Evidence(
            sent=[sent for sent in self._sent if sent is not None],
            tried=self._tried,
            cut_site=CUT_SITE,
            while_cut=[_while_cut(said) for said in made.while_cut],
            told=made.told,
            books=made.books,
        )
        made.winners = _winners(evidence)
        made.checks = demo_checks.gather(evidence)


def _seen(event: Event) -> Seen:
    return Seen(
        event.stream,
        event.revision,
        event.position,
        event.commit,
        event.id,
        event.type,
        bytes(event.data),
    )


def _links_cut(said: Status) -> bool:
    return all(peer.link == "cut" for peer in said.peers if CUT_SITE in {said.site, peer.site})


def _settled_up_to(said: Status, moment: datetime) -> bool:
    return said.watermark.time is not None and datetime.fromisoformat(said.watermark.time) >= moment


def _while_cut(said: Status) -> WhileCut:
    return WhileCut(
        name=said.node,
        site=said.site,
        links_cut=frozenset(peer.name for peer in said.peers if peer.link == "cut"),
        held_back_by=frozenset(held.name for held in said.watermark.held_back_by),
        tentative=said.watermark.tentative_commits,
    )


def _winners(evidence: Evidence) -> Counter[str]:
    """How many contested orders each site won, in the first node's history."""
    rivals = {
        cancellation(Contest(tried.stream, 0, {}), site)[0]: site
        for tried in evidence.tried
        for site in (CUT_SITE, RIVAL_SITE)
    }
    ids = (event.event_id for event in evidence.told[0].history)
    return Counter(rivals[one] for one in ids if one in rivals)
