"""The order book that a history of orders leads to.

An order is open from its first event on, with the volume of its latest one, until it is deleted or
cancelled. Then it stays away: the recorded feed tells of some deletions before it tells of the
order. The book depends on the order of events in a stream alone, so histories that agree on every
stream agree on the book.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256

ENDINGS = frozenset({"deleted", "cancelled"})
UNITS_IN_BITCOIN = 100_000_000


@dataclass(frozen=True)
class Open:
    """What an open order offers."""

    side: str
    price: Decimal
    volume: int


@dataclass(frozen=True)
class BookSummary:
    """A book in a few numbers; `hash` is over every open order, so it stands for the whole."""

    best_bid: str
    best_ask: str
    bid_levels: int
    ask_levels: int
    bid_volume: int
    ask_volume: int
    open_orders: int
    hash: str


class OrderBook:
    """Takes events in the order of a history."""

    def __init__(self) -> None:
        self._open: dict[str, Open] = {}
        self._gone: set[str] = set()

    def apply(self, order: str, type_: str, side: str, price: str, volume: int) -> None:
        """Take one event of an order."""
        if type_ in ENDINGS:
            self._open.pop(order, None)
            self._gone.add(order)
        elif order not in self._gone:
            self._open[order] = Open(side, Decimal(price), volume)

    def orders(self) -> frozenset[str]:
        """The orders that are open."""
        return frozenset(self._open)

    def summary(self) -> BookSummary:
        """The book in a few numbers."""
        bids = [order for order in self._open.values() if order.side == "bid"]
        asks = [order for order in self._open.values() if order.side == "ask"]
        return BookSummary(
            best_bid=str(max((order.price for order in bids), default="-")),
            best_ask=str(min((order.price for order in asks), default="-")),
            bid_levels=len({order.price for order in bids}),
            ask_levels=len({order.price for order in asks}),
            bid_volume=sum(order.volume for order in bids),
            ask_volume=sum(order.volume for order in asks),
            open_orders=len(self._open),
            hash=self._hash(),
        )

    def _hash(self) -> str:
        lines = (
            f"{name} {order.side} {order.price.normalize()} {order.volume}\n"
            for name, order in sorted(self._open.items())
        )
        return sha256("".join(lines).encode()).hexdigest()
