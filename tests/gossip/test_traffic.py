"""Bytes are counted by what they are for."""

from anabranch.gossip.messages import Ack, Compare, Give, Pull, Push, ReportMessage
from anabranch.gossip.traffic import Traffic


def test_pushes_pulls_and_the_rest_are_counted_apart():
    traffic = Traffic()
    bodies = [Push([]), Give([]), Pull([], 1), Ack(), ReportMessage(0, True)]
    for size, body in enumerate(bodies, 1):
        traffic.add_sent(body, 10**size)
    traffic.add_received(Compare(0, bytes(32), [], []), 7)
    assert traffic.sent == {"pushes": 10, "pulls": 1100, "rest": 110_000}
    assert traffic.received == {"pushes": 0, "pulls": 0, "rest": 7}


def test_what_came_before_the_peer_was_known_counts_too():
    early, known = Traffic(), Traffic()
    early.add_received(Ack(), 5)
    known.add_received(Ack(), 6)
    known.add(early)
    assert known.received["rest"] == 11
