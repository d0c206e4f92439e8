"""The ways between nodes in the kernel's own network: one network namespace for each node.

What a proxy can't show is met here: packets that vanish, and what the kernel makes of that. Only
cuts are possible; everything else needs the wires.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...simulations.plans.kinds import KINDS
from ...simulations.world.weather import Route, Weather
from ...storage.errors import ConfigError
from .namespaces import Namespaces

PORT = 7100  # the same in each namespace
POSSIBLE = frozenset({"cut", "one-way", "flap", "drill"})


def check_kinds(kinds: Iterable[str]) -> None:
    """Raise ConfigError if a kind of fault is not possible here."""
    wrong = sorted(
        kind for kind in kinds if KINDS[kind].family == "network" and kind not in POSSIBLE
    )
    if wrong:
        raise ConfigError(
            f"{', '.join(wrong)}: not possible with --kernel, which can only cut; leave --kernel "
            f"out, or use {', '.join(sorted(POSSIBLE))}"
        )


class KernelWays:
    """Cuts packets between namespaces."""

    def __init__(self, names: Sequence[str]) -> None:
        self.namespaces = Namespaces(names)
        self._cuts: dict[str, list[tuple[str, str]]] = {}

    def open(self) -> None:
        """Make the namespaces. Raises ConfigError."""
        self.namespaces.open()

    def url(self, name: str) -> str:
        """Where a node is, for all."""
        return f"http://{self.namespaces.address(name)}:{PORT}"

    def set_route(self, here: str, there: str, route: Route) -> None:
        """A kernel's own network is what it is: without a delay."""

    def begin(self, token: str, pairs: Iterable[tuple[str, str]], weather: Weather) -> None:
        """Let packets vanish on some ways, until the token is ended."""
        assert weather.cut, "who begins has asked what is possible"
        self._cuts[token] = list(pairs)
        for here, there in self._cuts[token]:
            self.namespaces.cut(here, there)

    def end(self, token: str) -> None:
        """Let packets pass again where nothing else cuts them off."""
        gone = self._cuts.pop(token, [])
        cut = {pair for pairs in self._cuts.values() for pair in pairs}
        for here, there in gone:
            if (here, there) not in cut:
                self.namespaces.mend(here, there)

    def heal(self) -> None:
        """Let all packets pass."""
        self._cuts.clear()
        self.namespaces.heal()

    async def close(self) -> None:
        """Remove the namespaces."""
        self.namespaces.close()
