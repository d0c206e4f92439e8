"""The order book: open until ended, the latest volume counts, and an ended order stays away."""

from __future__ import annotations

from anabranch.cli.order_book import OrderBook


def book(*events):
    made = OrderBook()
    for event in events:
        made.apply(*event)
    return made.summary()


def test_best_prices_levels_and_volumes():
    made = book(
        ("1", "created", "bid", "9.5", 100),
        ("2", "created", "bid", "10.0", 50),
        ("3", "created", "ask", "10.25", 70),
        ("4", "created", "bid", "10.00", 30),
        ("5", "created", "ask", "9.99", 1),
        ("5", "deleted", "ask", "9.99", 0),
    )
    assert (made.best_bid, made.best_ask) == ("10.0", "10.25")
    assert (made.bid_levels, made.ask_levels) == (2, 1)
    assert (made.bid_volume, made.ask_volume, made.open_orders) == (180, 70, 4)


def test_a_change_counts_and_a_cancellation_ends():
    changed = book(("1", "created", "bid", "9", 100), ("1", "changed", "bid", "9", 40))
    assert changed.bid_volume == 40
    assert book(("1", "created", "bid", "9", 1), ("1", "cancelled", "", "0", 0)).open_orders == 0


def test_an_order_that_ended_does_not_come_back():
    late = book(("1", "deleted", "bid", "9", 0), ("1", "created", "bid", "9", 5))
    assert (late.open_orders, late.best_bid, late.best_ask) == (0, "-", "-")


def test_the_hash_stands_for_every_open_order():
    one = ("1", "created", "bid", "9", 100)
    two = ("2", "created", "ask", "11", 100)
    assert book(one, two).hash == book(two, one).hash
    assert book(one, two).hash != book(one).hash
    assert book(one).hash != book(("2", *one[1:])).hash
    assert book(one).hash == book(("1", "created", "bid", "9.00", 100)).hash
