"""Who belongs to the cluster, who is let in, and what an epoch changes in that."""

from dataclasses import replace

import pytest

from anabranch.gossip.epoch import Change, Epoch, Frozenness, successor
from anabranch.gossip.epoch import Member as Joined
from anabranch.gossip.members import Cause, Member, Members
from anabranch.gossip.messages import PROTOCOL, Hello
from anabranch.storage.limits import BOOTS_KEPT_MAX, STRANGERS_KEPT_MAX

TABLE = (
    Member("ny1", "ny", 0, "http://a:1"),
    Member("lon1", "lon", 1, "http://b:1"),
    Member("tok1", "tok", 2, "http://c:1"),
)
ORIGINS = {"ny1": 11, "lon1": 22, "tok1": 33}


def members(me="ny1", known=("ny1",), table=TABLE, cluster="trading", shards=64):
    made = Members(cluster, shards, me, table)
    if me in known:
        made.identify(ORIGINS[me])
    for name in known:
        made.bind(name, ORIGINS[name])
    return made


def founders(**origins):
    """The rows that a state names of who makes the first epoch."""
    return [(one.name, one.site, one.priority, origins.get(one.name, 0)) for one in TABLE]


def hello_of(who="lon1", /, known=None, **changes):
    made = members(who, [who] if known is None else known)
    return replace(made.hello(), **changes)


ALL = ("ny1", "lon1", "tok1")


# -- origins ------------------------------------------------------------------------------------


def test_origins_are_learned_from_the_member_itself_and_from_others():
    mine = members()
    assert mine.founders == founders(ny1=11)
    assert mine.learn(hello_of("lon1", known=["lon1", "tok1"]), 0)
    assert mine.complete
    assert mine.founders == sorted(founders(**ORIGINS)), "an epoch has its members by name"
    assert mine.origins == [22, 11, 33]
    assert (mine.name(33), mine.site(33), mine.priority(33)) == ("tok1", "tok", 2)


def test_the_same_hello_teaches_nothing_twice():
    mine = members()
    assert mine.learn(hello_of("lon1"), 0)
    assert not mine.learn(hello_of("lon1"), 0)
    assert not mine.complete
    assert (mine.epoch, mine.number, mine.mark) == (None, 0, 0)


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
    assert mine.founders == founders(ny1=11)
    assert mine.origins == [11]


def test_the_last_origin_founds_epoch_1():
    mine = members(known=["ny1", "lon1"])
    assert mine.is_member
    assert mine.bind("tok1", 33)
    assert mine.epoch == Epoch.founded(
        Joined(one.name, one.site, one.priority, ORIGINS[one.name]) for one in TABLE
    )
    assert (mine.number, mine.mark, mine.is_member) == (1, mine.epoch.mark, True)


def test_one_who_forms_a_cluster_learns_no_founder_from_those_who_are_past_that():
    """Whom its epoch names, it learns with the epoch: what the hello says may be newer."""
    for epoch in (1, 2, 7):
        mine = members()
        assert not mine.learn(hello_of("lon1", known=ALL), epoch)
        assert mine.founders == founders(ny1=11)


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
    assert members(table=moved).objection(hello_of("lon1"), 0) is None


# -- objections ---------------------------------------------------------------------------------


FORMING = ("ny1", "lon1")  # whom both sides know while they still wait for tok1


def objection(hello, epoch=0, mine=None):
    mine = mine or members(known=FORMING)
    before = (mine.founders, mine.mark, mine.table, mine.origins)
    found = mine.objection(hello, epoch)
    assert (mine.founders, mine.mark, mine.table, mine.origins) == before, "it changes nothing"
    return found


@pytest.mark.parametrize("known", [["lon1"], ["lon1", "ny1"], ["lon1", "tok1"], ALL])
@pytest.mark.parametrize("known_here", [["ny1"], FORMING, ALL])
def test_a_member_is_welcome(known, known_here):
    epoch = 1 if known == ALL else 0
    assert objection(hello_of("lon1", known=known), epoch, members(known=known_here)) is None


def rows(**changes):
    """The member table of a good hello, with (site, priority, origin) of some names changed."""
    table = {
        name: (site, priority, origin)
        for name, site, priority, origin, _ in members("lon1", FORMING).hello().members
    }
    table.update(changes)
    return [(name, *row, f"http://{name}") for name, row in table.items() if row]


@pytest.mark.parametrize(
    ("changes", "cause", "says"),
    [
        ({"protocol": 2}, Cause.PROTOCOL, ["lon1 speaks protocol 2", "ny1 speaks 1"]),
        ({"cluster": "demo"}, Cause.CLUSTER, ["'demo'", "'trading'"]),
        ({"shards": 32}, Cause.SHARDS, ["32 shards", "64"]),
        ({"members": rows(tok1=None)}, Cause.MEMBERS, ["tok1"]),
        ({"members": rows(tok1=("tok", 9, 0))}, Cause.MEMBERS, ["tok1"]),
        ({"members": rows(tok1=("osa", 2, 0))}, Cause.MEMBERS, ["tok1"]),
        ({"members": rows(par1=("par", 3, 0))}, Cause.MEMBERS, ["par1"]),
        ({"name": "par1"}, Cause.MEMBERS, ["par1"]),
        ({"name": "ny1", "origin": 11}, Cause.MEMBERS, ["also calls itself ny1"]),
        ({"origin": 23}, Cause.ORIGIN, ["lon1", f"{23:016x}", f"{22:016x}", "wiped"]),
        ({"members": rows(ny1=("ny", 0, 12))}, Cause.KNOWN_AS, ["ny1", f"{12:016x}", f"{11:016x}"]),
    ],
    ids=str,
)
def test_whoever_does_not_belong_is_told_why(changes, cause, says):
    found = objection(hello_of("lon1", known=FORMING, **changes))
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
    hello = hello_of("lon1", known=FORMING, members=rows(tok1=("tok", 2, 34)))
    found = objection(hello, mine=members(known=["ny1", "tok1"]))
    assert found is not None
    assert found.cause not in (Cause.ORIGIN, Cause.KNOWN_AS)
    assert "tok1" in found.text
    assert f"{34:016x}" in found.text
    assert f"{33:016x}" in found.text


def test_a_boot_that_was_followed_by_a_newer_one_is_a_copied_directory():
    mine, hello = members(), hello_of("lon1")
    for boot in (7, 8):
        assert mine.objection(hello, 0, boot) is None
        mine.learn(hello, 0, boot)
    assert mine.objection(hello, 0, 8) is None
    assert mine.objection(hello, 0, 9) is None
    assert mine.objection(hello_of("tok1"), 0, 7) is None
    found = mine.objection(hello, 0, 7)
    assert found.cause is Cause.COPIED
    assert "copies of one data directory" in found.text


def test_a_boot_that_a_newer_one_names_is_the_older_one_also_if_it_comes_later():
    """Who has just started meets a copy first, and its original after that."""
    mine, hello = members(), hello_of("lon1")
    mine.learn(replace(hello, before=[6, 7]), 0, 8)
    for older in (6, 7):
        assert mine.objection(hello, 0, older).cause is Cause.COPIED
    assert mine.objection(replace(hello, before=[6, 7]), 0, 8) is None
    assert mine.objection(replace(hello, before=[6, 7, 8]), 0, 9) is None


def test_a_boot_that_was_met_is_older_than_those_that_name_it():
    mine, hello = members(), hello_of("lon1")
    mine.learn(hello, 0, 7)
    mine.learn(replace(hello, before=[6, 7]), 0, 8)
    assert [*mine._boots[hello.origin]] == [6, 7, 8]


def test_only_the_last_boots_are_remembered():
    mine, hello = members(), hello_of("lon1")
    for boot in range(1, 2 * BOOTS_KEPT_MAX):
        mine.learn(hello, 0, boot)
    assert [len(boots) for boots in mine._boots.values()] == [BOOTS_KEPT_MAX]
    assert mine.objection(hello, 0, 2 * BOOTS_KEPT_MAX - 2).cause is Cause.COPIED


def test_strangers_are_forgotten_once_they_are_too_many():
    mine = members()
    known = replace(hello_of("lon1"), origin=5)
    for _ in range(3):
        mine.learn(known, 3, 1)
    for number in range(2 * STRANGERS_KEPT_MAX):
        rows = tuple((f"s{number}-{row}", "x", 1, 1, f"http://{number}-{row}") for row in range(3))
        mine.learn(replace(known, origin=1000 + number, members=rows), 3, 1)
    assert len(mine._boots) <= STRANGERS_KEPT_MAX and len(mine._urls) <= STRANGERS_KEPT_MAX
    assert 999 + 2 * STRANGERS_KEPT_MAX in mine._boots


# -- past forming -------------------------------------------------------------------------------


@pytest.mark.parametrize(("here", "there"), [(0, 1), (1, 0), (0, 2), (1, 2), (2, 0), (2, 1)])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"members": rows(tok1=None)},
        {"members": rows(tok1=("osa", 9, 34), par1=("par", 3, 44))},
        {"members": rows(ny1=("ny", 0, 12))},
        {"origin": 23},
        {"name": "par1", "origin": 44},
    ],
    ids=str,
)
def test_once_a_side_is_past_forming_tables_and_origins_are_not_compared(here, there, changes):
    """Who is behind learns, and who is no member may ask to be one."""
    mine = members(known=FORMING if here == 0 else ALL)
    if here == 2:
        mine.enter(after(Change()))
    assert mine.number == here
    hello = replace(hello_of("lon1", known=FORMING), mark=7 if there else 0, **changes)
    assert objection(hello, there, mine) is None


@pytest.mark.parametrize("epoch", [0, 1, 2])
@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"protocol": 2}, Cause.PROTOCOL),
        ({"cluster": "demo"}, Cause.CLUSTER),
        ({"shards": 32}, Cause.SHARDS),
        ({"name": "ny1"}, Cause.MEMBERS),
    ],
    ids=str,
)
def test_what_a_cluster_is_made_with_is_compared_in_every_epoch(epoch, changes, cause):
    assert objection(hello_of("lon1", known=ALL, **changes), epoch, members(known=ALL)).cause is (
        cause
    )


def test_a_copied_directory_is_refused_in_every_epoch():
    mine, hello = members(known=ALL), hello_of("lon1", known=ALL)
    for boot in (7, 8):
        mine.learn(hello, 1, boot)
    for epoch in (0, 1, 2):
        assert mine.objection(hello, epoch, 8) is None
        assert mine.objection(hello, epoch, 7).cause is Cause.COPIED


def test_the_same_number_and_another_mark_is_a_fork():
    mine = members(known=ALL)
    assert objection(hello_of("lon1", known=ALL), 1, mine) is None
    found = objection(hello_of("lon1", known=ALL, mark=mine.mark ^ 1), 1, mine)
    assert found.cause is Cause.FORK
    assert "lon1 and ny1 are in different epochs 1" in found.text
    assert "start the nodes of the other" in found.text
    mine.enter(after(Change(remove=(33,))))
    other = members("lon1", ALL)
    other.enter(after(Change(remove=(11,))))
    assert objection(other.hello(), 2, mine).cause is Cause.FORK
    assert objection(other.hello(), 2, members(known=ALL)) is None, "who is behind can't know"
    other.enter(after(Change(remove=(33,))))
    assert objection(other.hello(), 2, mine) is None


# -- epochs -------------------------------------------------------------------------------------

FIRST = members(known=ALL).epoch
PAR = Joined("par1", "par", 3, 44, url="http://d:1")


def after(change, *held, epoch=None):
    answers = [Frozenness(1000, tuple(held))]
    return successor(epoch or members(known=ALL).epoch, change, answers)


def entered(epoch, me="ny1", table=TABLE):
    mine = members(me, ALL if me in ORIGINS else (), table)
    mine.enter(epoch)
    return mine


def test_who_joins_is_a_member_and_who_is_removed_is_none():
    mine = entered(after(Change((PAR,), (33,)), (0, 33, 5)))
    assert [one.name for one in mine.table] == ["lon1", "ny1", "par1"]
    assert mine.origins == [22, 11, 44]
    assert [one.name for one in mine.others] == ["lon1", "par1"]
    assert ("par1" in mine, "tok1" in mine) == (True, False)
    assert (mine.origin("par1"), mine.origin("tok1")) == (44, None)
    assert (mine.number, mine.mark) == (2, mine.epoch.mark)
    assert mine.complete
    assert mine.is_member


def test_a_removed_origin_keeps_its_name_and_its_place_in_the_order():
    mine = entered(after(Change((PAR,), (33,)), (0, 33, 5)))
    assert (mine.name(33), mine.site(33), mine.priority(33)) == ("tok1", "tok", 2)


def test_a_node_that_came_back_has_both_origins_and_the_old_one_ends_at_its_finals():
    mine = entered(after(Change((Joined("tok1", "tok", 2, 34),)), (0, 33, 5)))
    assert (mine.name(33), mine.name(34)) == ("tok1", "tok1")
    assert mine.origin("tok1") == 34
    assert mine.end((0, 33), 9) == 5
    assert mine.end((0, 34), 9) == 9


def test_what_has_a_place_is_what_the_epoch_lets_count():
    mine = entered(after(Change((PAR,), (33,)), (0, 33, 5), (0, 11, 7)))
    mine.own(99)  # a provisional origin of this directory
    places = {
        (origin, shard, seq): mine.has_place((shard, origin), seq)
        for origin, shard, seq in [
            *((11, 0, 1), (11, 0, 1 << 62), (44, 1, 1)),
            *((33, 0, 5), (33, 0, 6), (33, 1, 1)),
            *((99, 0, 1), (77, 0, 1)),
        ]
    }
    assert [place for place, counts in places.items() if counts] == [
        (11, 0, 1),
        (11, 0, 1 << 62),
        (44, 1, 1),
        (33, 0, 5),
    ]
    ends = [((0, 11), 9), ((1, 44), 9), ((0, 33), 3), ((0, 33), 9), ((1, 33), 9), ((0, 99), 9)]
    assert [mine.end(log, seq) for log, seq in ends] == [9, 9, 3, 5, 0, 0]


def test_while_a_cluster_forms_the_logs_of_known_founders_have_a_place():
    mine = members(known=FORMING)
    assert mine.has_place((0, 22), 1 << 40)
    assert not mine.has_place((0, 33), 1)
    assert (mine.end((0, 22), 9), mine.end((0, 33), 9)) == (9, 0)


def test_an_origin_given_up_without_ever_joining_has_no_name_but_an_end():
    mine = entered(after(Change((), (55,))))
    assert (mine.name(55), mine.site(55), mine.priority(55)) == ("", "", 0)
    assert not mine.has_place((0, 55), 1)
    assert mine.end((0, 55), 9) == 0


def test_a_node_that_the_epoch_does_not_name_is_outside():
    table = (*TABLE, Member("par1", "par", 3, "http://d:1"))
    mine = Members("trading", 64, "par1", table)
    mine.identify(44)
    assert mine.is_member, "the cluster is still forming"
    mine.enter(FIRST)
    assert not mine.is_member
    assert "par1" not in mine
    assert [one.name for one in mine.others] == sorted(ORIGINS)
    assert mine.member("par1") == table[3], "of itself it knows from its file"
    assert (mine.name(44), mine.site(44), mine.priority(44)) == ("par1", "par", 3)
    assert not mine.has_place((0, 44), 1)
    hello = mine.hello()
    assert (hello.name, hello.origin, hello.mark) == ("par1", 44, FIRST.mark)
    assert "par1" not in [row[0] for row in hello.members]
    mine.enter(after(Change((PAR,))))
    assert mine.is_member
    assert mine.has_place((0, 44), 1)


def test_a_removed_node_is_outside_and_goes_on_under_another_origin():
    mine = entered(after(Change(remove=(11,)), (0, 11, 3)))
    assert not mine.is_member
    mine.own(11)
    mine.identify(12)
    assert (mine.name(12), mine.priority(12)) == ("ny1", 0)
    assert (mine.name(11), mine.priority(11)) == ("ny1", 0)
    assert not mine.is_member
    assert mine.hello().origin == 12
    assert (mine.end((0, 11), 9), mine.end((0, 12), 9)) == (3, 0)
    back = after(Change((Joined("ny1", "ny", 0, 12),)), epoch=mine.epoch)
    mine.enter(back)
    assert mine.is_member
    assert mine.has_place((0, 12), 1)


def test_an_own_origin_never_takes_the_name_of_somebody_elses():
    mine = entered(FIRST)
    mine.own(22)  # a bug, or a forged state: lon1 is who it was
    assert (mine.name(22), mine.priority(22)) == ("lon1", 1)


def test_nothing_is_bound_once_there_is_an_epoch():
    mine = entered(after(Change(remove=(33,))))
    assert not mine.bind("tok1", 35)
    assert not mine.learn(hello_of("tok1", origin=35), 0)
    assert mine.origin("tok1") is None


def test_founders_are_named_as_long_as_the_first_epoch_lasts():
    mine = members(known=ALL)
    assert mine.founders == sorted(founders(**ORIGINS))
    mine.enter(after(Change()))
    assert mine.founders == []


# -- urls ---------------------------------------------------------------------------------------


def url_of(mine, name="par1"):
    return mine.member(name).url


def hello_naming(**urls):
    good = hello_of("lon1", known=ALL)
    told = [(row[0], *row[1:4], urls.get(row[0], "")) for row in good.members]
    extra = [(name, "par", 3, 44, url) for name, url in urls.items() if name not in ORIGINS]
    return replace(good, members=told + extra)


def test_a_member_is_dialled_as_the_file_says_then_as_the_epoch_says_then_as_a_hello_told():
    joined = after(Change((PAR,)))
    mine = entered(joined)
    assert url_of(mine) == "http://d:1"
    mine.learn(hello_naming(par1="http://moved:1"), 2)
    assert url_of(mine) == "http://d:1", "the members agreed on that one"
    bare = entered(after(Change((replace(PAR, url=""),))))
    assert url_of(bare) == ""
    bare.learn(hello_naming(par1="http://told:1"), 2)
    bare.learn(hello_naming(par1="http://told-later:1"), 2)
    bare.learn(hello_naming(par1=""), 2)
    assert url_of(bare) == "http://told:1", "the first that told counts: files may differ"
    filed = entered(joined, table=(*TABLE, Member("par1", "par", 3, "http://file:1")))
    filed.learn(hello_naming(par1="http://moved:1"), 2)
    assert url_of(filed) == "http://file:1"


def test_a_founder_is_dialled_as_the_own_file_says_whatever_hellos_tell():
    mine = members(known=ALL)
    mine.learn(hello_naming(lon1="http://elsewhere:1", tok1="http://elsewhere:2"), 1)
    assert [one.url for one in mine.others] == ["http://b:1", "http://c:1"]


def test_a_hello_tells_the_urls_and_they_reach_who_has_no_file_for_them():
    founder = members("lon1", ALL)
    assert {row[0]: row[4] for row in founder.hello().members} == {
        "ny1": "http://a:1",
        "lon1": "http://b:1",
        "tok1": "http://c:1",
    }
    mine = Members("trading", 64, "par1", (Member("par1", "par", 3, "http://d:1"), TABLE[0]))
    mine.identify(44)
    assert mine.objection(founder.hello(), 1) is None
    mine.learn(founder.hello(), 1)
    mine.enter(founder.epoch)
    assert url_of(mine, "tok1") == "http://c:1"
    assert url_of(mine, "ny1") == "http://a:1"


def test_urls_are_no_part_of_the_first_mark():
    assert all(member.url == "" for member in FIRST.members)


# -- where they are -----------------------------------------------------------------------------


def test_who_has_no_address_of_a_member_asks_whom_its_file_names():
    new = (Member("par1", "par", 3, "http://d:1"), Member("rom1", "rom", 4, "http://e:1"))
    mine = members("rom1", (), table=new)
    assert mine.guides == []  # it dials whom the file names
    mine.enter(Epoch.founded(Joined(m.name, m.site, m.priority, ORIGINS[m.name]) for m in TABLE))
    assert [member.url for member in mine.others] == [""] * 3
    assert mine.guides == [new[0]]
    guide = members("par1", (), table=new[:1])
    guide.enter(mine.epoch)
    assert not mine.learn(guide.hello(), 1)
    assert mine.guides == [new[0]]  # that one knew none either
    assert not mine.learn(hello_of("ny1"), 1)
    assert [member.url for member in mine.others] == ["http://b:1", "http://a:1", "http://c:1"]
    assert mine.guides == []


def test_a_member_whose_file_names_another_needs_no_guide():
    mine = members("ny1", ALL)
    assert mine.guides == []
    alone = members("ny1", table=TABLE[:1])
    assert (alone.complete, alone.others, alone.guides) == (True, [], [])
