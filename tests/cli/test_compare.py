"""`compare`: equal, behind, and different, with the first place where histories part."""

from __future__ import annotations

import json

import pytest

from anabranch.cli.comparison import first_parting, other_commits, surely_different
from anabranch.cli.model import Conflict, Digest, Event, SettledDigest, ShardDigest
from anabranch.storage.merkle import shard_root


def write(world, many):
    for n in range(many):
        world.append("ny", f"s{n % 3}", f"c{n}", "any", [{"id": f"e{n}", "type": "t", "data": n}])


def test_equal_histories_are_status_0(run, cluster, world):
    write(world, 30)
    ran = run("compare", *cluster.urls)
    assert ran.status == 0
    assert "ny1 and london1: the same settled history" in ran.out
    assert "ny1 and tokyo1: the same settled history" in ran.out


def test_a_node_that_is_behind_is_named(run, cluster, world):
    write(world, 30)
    world.commits["tokyo"] = world.commits["tokyo"][:-4]
    ran = run("compare", *cluster.urls[::2])
    assert ran.status == 1
    assert "tokyo1 is 4 events behind ny1, the same so far" in ran.out


def test_a_node_that_is_pages_behind_is_so_far_behind(run, cluster, world):
    write(world, 3000)
    world.commits["tokyo"] = world.commits["tokyo"][:100]
    assert "tokyo1 is 2,900 events behind ny1" in run("compare", *cluster.urls[::2]).out


def test_who_is_behind_and_disputes_a_shard_is_not_waited_for(run, cluster, world):
    write(world, 30)
    world.commits["tokyo"] = world.commits["tokyo"][:-4]
    world.disputes["tokyo"] = [{"shard": 5, "why": "two nodes differ"}]
    out = " ".join(run("compare", *cluster.urls[::2]).out.split())
    assert "tokyo1 disputes shard 5: two nodes differ" in out
    assert (
        "tokyo1 is 4 events behind ny1, the same so far. No waiting helps while shard 5 may not"
        in out
    )


def test_the_first_place_where_they_part_is_named(run, cluster, world):
    write(world, 1200)  # more than a page

    def damaged(site, events):
        if site == "tokyo":
            return [{**one, "data": -1} if one["id"] == "e1100" else one for one in events]
        return events

    world.shown = damaged
    ran = run("compare", *cluster.urls, "--json")
    assert ran.status == 1
    equal, different = json.loads(ran.out)["pairs"]
    assert equal["verdict"] == "equal"
    assert different["verdict"] == "different"
    assert different["first_difference"]["index"] == 1100
    assert different["first_difference"]["fields"] == ["data"]
    assert "part at event 1,100: 's2' revision 366" in run("compare", *cluster.urls).out


def test_waiting_ends_as_soon_as_they_are_equal(run, cluster, world):
    write(world, 3)
    assert run("compare", *cluster.urls, "--wait", "1h").status == 0


def event(**changed) -> Event:
    fields = {"revision": 1, "position": "p", "commit": "c", "id": "i", "type": "t", "stream": "s"}
    return Event(**(fields | changed))


@pytest.mark.parametrize("field", ["revision", "position", "commit", "id", "type", "stream"])
def test_every_field_counts(field):
    parting = first_parting([event(), event()], [event(), event(**{field: "other"})])
    assert parting is not None
    assert (parting.index, parting.fields) == (1, [field])


def test_a_longer_history_does_not_part():
    assert first_parting([event()], [event(), event()]) is None


def test_an_empty_history_is_behind(run, cluster, world):
    write(world, 5)
    world.commits["tokyo"] = []
    ran = run("compare", *cluster.urls[::2])
    assert ran.status == 1
    assert "tokyo1 is 5 events behind ny1" in ran.out


@pytest.mark.parametrize(("commits", "hash_", "found"), [(3, "a", []), (3, "b", [7]), (4, "b", [])])
def test_no_waiting_helps_where_as_many_commits_have_another_hash(commits, hash_, found):
    def digest(many, shard_hash):
        shards = [ShardDigest(7, many, shard_hash)]
        return Digest("n", "s", SettledDigest(many, many, shard_hash), shards=shards)

    assert surely_different(digest(3, "a"), digest(commits, hash_)) == found


def test_a_conflict_that_was_decided_otherwise_parts_two_feeds():
    left, right = (Conflict("s", "c", "p", outcome) for outcome in ("rejected", "kept"))
    parting = first_parting([left], [right])
    assert parting is not None
    assert (parting.among, parting.index, parting.fields) == ("conflicts", 0, ["outcome"])
    assert parting.sentence().startswith("conflict 0: 's' commit c (rejected) against 's' commit c")


@pytest.mark.parametrize(
    ("left", "right", "cut", "found"),
    [
        ({1: "x", 3: "y"}, {1: "x", 3: "y"}, "2", []),
        ({1: "x", 3: "y"}, {1: "x", 3: "z"}, "2", [3]),
        ({1: "x"}, {2: "x"}, "2", [1, 2]),
        ({1: shard_root([]).hex()}, {}, "2", []),  # all that it has is later
        ({1: "x"}, {1: "y"}, "1", []),
        ({1: "x"}, {1: "y"}, "", []),
    ],
)
def test_roots_are_held_against_each_other_at_one_cut_only(left, right, cut, found):
    def digest(roots, at):
        shards = [ShardDigest(shard, 1, "", root) for shard, root in roots.items()]
        return Digest("n", "s", SettledDigest(1, 1, ""), cut=at, shards=shards)

    assert other_commits(digest(left, "2" if cut else ""), digest(right, cut)) == found
