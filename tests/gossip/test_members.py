"""Who is let in, and what the digest of the table stands for."""

from dataclasses import replace

import pytest

from anabranch.gossip.members import Cause, Member, Members
from anabranch.gossip.messages import PROTOCOL, Hello
from anabranch.storage.limits import BOOTS_KEPT_MAX

TABLE = (
    Member("ny1", "ny", 0, "http://a:1"),
    Member("lon1", "lon", 1, "http://b:1"),
    Member("tok1", "tok", 2, "http://c:1"),
)
ORIGINS = {"ny1": 11, "lon1": 22, "tok1": 33}


def members(me="ny1", known=("ny1",), table=TABLE, cluster="trading", shards=64):
    made = Members(cluster, shards, me, table)
    for name in known:
        made.bind(name, ORIGINS[name])
    return made


def hello_of(who="lon1", /, known=None, **changes):
    made = members(who, [who] if known is None else known)
    return replace(made.hello(), **changes)


ALL = ("ny1", "lon1", "tok1")


# -- origins ------------------------------------------------------------------------------------


def test_origins_are_learned_from_the_member_itself_and_from_others():
    mine = members()
    assert mine.learn(hello_of("lon1", known=["lon1", "tok1"]))
    assert mine.complete
    assert mine.bindings == [("ny1", 11), ("lon1", 22), ("tok1", 33)]
    assert mine.origins == [11, 22, 33]
    assert (mine.name(33), mine.site(33), mine.priority(33)) == ("tok1", "tok", 2)


def test_the_same_hello_teaches_nothing_twice():
    mine = members()
    assert mine.learn(hello_of("lon1"))
    assert not mine.learn(hello_of("lon1"))
    assert not mine.complete


def test_an_origin_once_known_is_never_replaced():
    mine = members(known=ALL)
    assert not mine.bind("lon1", 99)
    assert mine.origin("lon1") == 22
    assert mine.name(99) is None
    assert mine.priority(99) is None


def test_nobody_outside_the_table_is_bound_and_zero_is_no_origin():
    mine = members()
    assert not mine.bind("paris1", 99)
    assert not mine.bind("lon1", 0)
    assert mine.bindings == [("ny1", 11)]


# -- the mark -----------------------------------------------------------------------------------


def test_there_is_no_mark_until_all_origins_are_known():
    mine = members(known=["ny1", "lon1"])
    assert mine.mark == 0
    mine.bind("tok1", 33)
    assert 0 < mine.mark < 1 << 64


def test_all_members_of_one_table_have_the_same_mark():
    assert len({members(name, ALL).mark for name in ALL}) == 1
    assert members(table=TABLE[::-1], known=ALL).mark == members(known=ALL).mark


@pytest.mark.parametrize("change", [{"name": "ny2"}, {"site": "nj"}, {"priority": 7}], ids=str)
def test_any_difference_in_the_table_is_another_mark(change):
    odd = (replace(TABLE[0], **change), *TABLE[1:])
    origins = {**ORIGINS, "ny2": 11}
    other = Members("trading", 64, "lon1", odd)
    for member in odd:
        other.bind(member.name, origins[member.name])
    assert other.mark != members(known=ALL).mark


def test_another_origin_is_another_mark():
    other = members("lon1", ["lon1", "tok1"])
    other.bind("ny1", 12)
    assert other.mark != members(known=ALL).mark


def test_addresses_are_each_nodes_own_business():
    moved = (replace(TABLE[0], url="http://elsewhere:9"), *TABLE[1:])
    assert members(table=moved, known=ALL).mark == members(known=ALL).mark
    assert members(table=moved).objection(hello_of("lon1")) is None


# -- objections ---------------------------------------------------------------------------------


def objection(hello, mine=None):
    mine = mine or members(known=ALL)
    before = (mine.bindings, mine.mark)
    found = mine.objection(hello)
    assert (mine.bindings, mine.mark) == before, "to object changes nothing"
    return found


@pytest.mark.parametrize("known", [["lon1"], ["lon1", "ny1"], ALL])
def test_a_member_is_welcome(known):
    assert objection(hello_of("lon1", known=known)) is None
    assert objection(hello_of("lon1", known=known), members()) is None


def rows(**changes):
    """The member table of a good hello, with (site, priority, origin) of some names changed."""
    table = {
        name: (site, priority, origin)
        for name, site, priority, origin in members("lon1", ALL).hello().members
    }
    table.update(changes)
    return [(name, *row) for name, row in table.items() if row]


@pytest.mark.parametrize(
    ("changes", "cause", "says"),
    [
        ({"protocol": 2}, Cause.PROTOCOL, ["lon1 speaks protocol 2", "ny1 speaks 1"]),
        ({"cluster": "demo"}, Cause.CLUSTER, ["'demo'", "'trading'"]),
        ({"shards": 32}, Cause.SHARDS, ["32 shards", "64"]),
        ({"members": rows(tok1=None)}, Cause.MEMBERS, ["tok1"]),
        ({"members": rows(tok1=("tok", 9, 33))}, Cause.MEMBERS, ["tok1"]),
        ({"members": rows(tok1=("osa", 2, 33))}, Cause.MEMBERS, ["tok1"]),
        ({"members": rows(par1=("par", 3, 0))}, Cause.MEMBERS, ["par1"]),
        ({"name": "par1"}, Cause.MEMBERS, ["par1"]),
        ({"name": "ny1", "origin": 11}, Cause.MEMBERS, ["also calls itself ny1"]),
        ({"origin": 23}, Cause.ORIGIN, ["lon1", f"{23:016x}", f"{22:016x}", "wiped"]),
        ({"members": rows(ny1=("ny", 0, 12))}, Cause.KNOWN_AS, ["ny1", f"{12:016x}", f"{11:016x}"]),
    ],
    ids=str,
)
def test_whoever_does_not_belong_is_told_why(changes, cause, says):
    found = objection(hello_of("lon1", known=ALL, **changes))
    assert found is not None
    assert found.cause is cause
    assert [word for word in says if word not in found.text] == []


def test_what_must_be_the_same_is_checked_from_the_outside_in():
    everything_wrong = hello_of("lon1", protocol=2, cluster="demo", shards=1, members=[])
    assert objection(everything_wrong).cause is Cause.PROTOCOL
    assert objection(replace(everything_wrong, protocol=PROTOCOL)).cause is Cause.CLUSTER


def test_a_hello_of_another_version_needs_no_more_than_its_name():
    assert objection(Hello(9, "", 0, "lon1", 0, [])).cause is Cause.PROTOCOL


def test_to_know_another_member_by_another_origin_makes_neither_side_a_stranger():
    """tok1 was wiped, and lon1 met only its new self: ny1 and lon1 are who they were."""
    found = objection(hello_of("lon1", known=ALL, members=rows(tok1=("tok", 2, 34))))
    assert found is not None
    assert found.cause not in (Cause.ORIGIN, Cause.KNOWN_AS)
    assert "tok1" in found.text
    assert f"{34:016x}" in found.text
    assert f"{33:016x}" in found.text


def test_a_boot_that_was_followed_by_a_newer_one_is_a_copied_directory():
    mine, hello = members(), hello_of("lon1")
    for boot in (7, 8):
        assert mine.objection(hello, boot) is None
        mine.learn(hello, boot)
    assert mine.objection(hello, 8) is None
    assert mine.objection(hello, 9) is None
    assert mine.objection(hello_of("tok1"), 7) is None
    found = mine.objection(hello, 7)
    assert found.cause is Cause.COPIED
    assert "copies of one data directory" in found.text


def test_only_the_last_boots_are_remembered():
    mine, hello = members(), hello_of("lon1")
    for boot in range(1, 2 * BOOTS_KEPT_MAX):
        mine.learn(hello, boot)
    assert [len(boots) for boots in mine._boots.values()] == [BOOTS_KEPT_MAX]
    assert mine.objection(hello, 2 * BOOTS_KEPT_MAX - 2).cause is Cause.COPIED
