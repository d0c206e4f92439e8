"""Relays and turns: where an origin's commits go in, and who fetches them."""

from collections import Counter

from anabranch.gossip.members import Member
from anabranch.gossip.routes import Routes

NAMES = [f"{site}{number}" for site in ("ny", "lon") for number in (1, 2, 3)]
TABLE = tuple(Member(name, name[:-1], 0, f"sim://{name}") for name in NAMES)
ORIGINS = range(1, 200)


def routes(me="ny1"):
    return Routes(TABLE, me)


def among(*names):
    return lambda name: name in names


def test_all_nodes_agree_on_the_rank():
    for origin in ORIGINS:
        assert len({tuple(routes(me).rank(origin, "lon")) for me in NAMES}) == 1


def test_each_node_is_the_relay_of_its_share():
    first = Counter(routes().rank(origin, "lon")[0] for origin in ORIGINS)
    assert sorted(first) == ["lon1", "lon2", "lon3"]
    assert min(first.values()) > len(ORIGINS) / 5


def test_when_one_is_gone_the_others_keep_what_they_had():
    for origin in ORIGINS:
        first, second, third = routes().rank(origin, "lon")
        assert routes().relay(origin, "lon", among(*NAMES)) == first
        assert routes().relay(origin, "lon", among(second, third)) == second
        assert routes().relay(origin, "lon", among(first, third)) == first
        assert routes().relay(origin, "lon", among()) is None


def test_who_answers_slowly_is_better_than_nobody():
    first, second, _ = routes().rank(5, "lon")
    assert routes().relay(5, "lon", among(second), among(first, second)) == second
    assert routes().relay(5, "lon", among(), among(first, second)) == first


def test_each_node_of_a_site_has_another_turn_and_moves_up_when_one_is_gone():
    for origin in ORIGINS:
        rank = routes().rank(origin, "ny")
        for turn, me in enumerate(rank):
            assert routes(me).before(origin, among(*NAMES)) == rank[:turn]
            assert routes(me).before(origin, among(*rank[1:])) == rank[1:turn]


def test_mates_are_the_others_of_the_own_site():
    assert routes("lon2").mates == ["lon1", "lon3"]
    assert routes("lon2").is_near("lon3")
    assert not routes("lon2").is_near("ny1")
