"""All ways between the nodes of a cluster, each through a proxy, and the weather over them.

The counterpart of simulations.world.network for real processes: the same words, and several
weathers add up in the same way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import permutations

from ...simulations.world.weather import Route, Weather
from .lanes import Lane
from .proxy import LOOPBACK, Proxy


class Wires:
    """A proxy for each node that dials another; the addresses are where the nodes really are."""

    def __init__(self, seed: int | str, addresses: Mapping[str, tuple[str, int]]) -> None:
        ways = list(permutations(addresses, 2))
        self._lanes = {(here, there): Lane(here, there, seed) for here, there in ways}
        self._proxies = {
            (here, there): Proxy(
                here,
                there,
                target=addresses[there],
                forward=self._lanes[here, there],
                backward=self._lanes[there, here],
            )
            for here, there in ways
        }

    async def open(self) -> None:
        """Listen for every node."""
        for proxy in self._proxies.values():
            await proxy.open()

    async def close(self) -> None:
        """End all connections, and listen no more."""
        for proxy in self._proxies.values():
            await proxy.close()

    def url(self, here: str, there: str) -> str:
        """Where one node finds another."""
        return f"http://{LOOPBACK}:{self._proxies[here, there].port}"

    def lane(self, here: str, there: str) -> Lane:
        """The way from one node to another."""
        return self._lanes[here, there]

    # -- routes and weather ----------------------------------------------------------------------

    def set_route(self, here: str, there: str, route: Route) -> None:
        """Say what the way from one node to another is like."""
        self._lanes[here, there].set_route(route)

    def begin(self, token: str, pairs: Iterable[tuple[str, str]], weather: Weather) -> None:
        """Let weather come over some ways, until the token is ended."""
        for here, there in pairs:
            self._lanes[here, there].begin(token, weather)

    def end(self, token: str) -> None:
        """End the weather that began with this token."""
        for lane in self._lanes.values():
            lane.end(token)

    def heal(self) -> None:
        """End all that is wrong, everywhere."""
        for lane in self._lanes.values():
            lane.heal()

    def passes(self, here: str, there: str) -> bool:
        """Whether bytes pass from one node to another."""
        lanes = self._lanes[here, there], self._lanes[there, here]
        return lanes[0].now.passes and not any(lane.refuses for lane in lanes)

    # -- what was seen ---------------------------------------------------------------------------

    @property
    def counts(self) -> Counter[str]:
        """What went wrong on all ways."""
        return sum((lane.counts for lane in self._lanes.values()), Counter())

    def bytes(self, here: str, there: str) -> int:
        """How many bytes went from one node to another."""
        return self._lanes[here, there].bytes
