"""Bugs about members that come and go, and about directories that go back in time."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from anabranch.gossip import epoch
from anabranch.gossip.conversation import Conversation
from anabranch.gossip.counting import EpochSettlement
from anabranch.gossip.epoch import Epoch
from anabranch.gossip.epochs import Epochs
from anabranch.gossip.reports import Standings
from anabranch.gossip.sureness import Sureness
from anabranch.node import recovery
from anabranch.node.history import History
from anabranch.node.membership import Membership
from anabranch.node.node import Node
from anabranch.node.recalls import is_more, recalled
from anabranch.node.reorigination import Reorigination
from anabranch.node.replication import Replication
from anabranch.node.settler import Settler
from anabranch.node.store import Store
from anabranch.node.strays import Strays

from .registry import edited, planted, together, unseen

# -- directories that go back in time --------------------------------------------------------


@planted
def be_sure_of_any_directory() -> AbstractContextManager[Any]:
    """A node that starts asks nobody what was seen of it."""
    return edited(Node._open_membership, ("sure=self._fresh", "sure=True"))


@planted
def go_on_with_a_directory_that_went_back() -> AbstractContextManager[Any]:
    """What others saw of this node is not compared with what is here."""
    return edited(Sureness.told, ("counter > self.begun_at or more", "False"))


@unseen(
    "a disk that fills up, and two crashes, before there is room",
    "simulations/test_regressions.py::test_it_is_mended[a-start-without-room]",
)
def count_a_start_that_is_not_kept() -> AbstractContextManager[Any]:
    """A node is sure of its directory before that knows of the start."""
    return edited(Membership._is_kept, ("return self._store", "return True or self._store"))


@planted
def compare_commits_but_not_counters() -> AbstractContextManager[Any]:
    """A directory that lost promises and ballots, but no commit, passes."""
    return edited(Sureness.told, ("counter > self.begun_at or more", "more"))


@planted
def compare_counters_but_not_commits() -> AbstractContextManager[Any]:
    """Who saw only the commits, by others, says nothing."""
    return edited(Sureness.told, ("counter > self.begun_at or more", "counter > self.begun_at"))


@unseen(
    "a member that restarts just when a copy begins to run, and meets it first",
    "simulations/test_regressions.py::test_it_is_mended[a-copy-met-first]",
)
def tell_nobody_which_starts_were_before() -> AbstractContextManager[Any]:
    """Of two processes on copies of one directory, the one met last is taken for the newer."""
    return edited(Replication.hello, ("self._store.boots_before", ""))


@unseen(
    "a copy that begins to run just when its original starts again",
    "simulations/test_regressions.py::test_it_is_mended[two-starts-at-once]",
)
def vouch_for_two_starts() -> AbstractContextManager[Any]:
    """Who has told one start that it saw no more tells another one the same."""
    return edited(recalled, ("seen.vouch(origin, boot, recall.counter, before)", "pass"))


@planted
def forget_at_a_restart_what_was_seen_of_others() -> AbstractContextManager[Any]:
    """The counters of the others are not read back."""
    return edited(Store.__init__, ("self.seen.restore(recovered.state.seen)", "pass"))


@planted
def keep_the_counter_of_another_start() -> AbstractContextManager[Any]:
    """A late report of an older start is passed on with the counter of the newer one."""
    return edited(Standings.learn, ("standing.counter if same else 0", "standing.counter"))


@unseen(
    "the one member that saw more is the last to answer",
    "gossip/test_sureness.py::test_once_all_have_confirmed_nobody_waits",
)
def be_sure_without_all_that_have_to_confirm() -> AbstractContextManager[Any]:
    """The first answer is enough."""
    return edited(Sureness.decide, ("self.sure = enough and", "self.sure = majority and"))


@unseen(
    "a disk goes back to before an eviction, and the evicted one alone saw more",
    "simulations/test_regressions.py::test_it_is_mended[a-witness-that-was-removed]",
)
def ask_none_but_the_members_of_now() -> AbstractContextManager[Any]:
    """Who was removed may have seen more, and is not asked."""
    gone = "{member.name: member for member in self._members.gone}"
    return together(
        edited(Membership.begin, (gone, "{}")),
        edited(Membership._enter, ("if not self.sureness.sure:", "if False:")),
    )


@planted
def take_a_longer_log_for_the_one_that_counted() -> AbstractContextManager[Any]:
    """Where a copy went on, the first one's log may be the longer of the two."""
    told = "longer or bool(answer.boot and not store.was_started_as(answer.boot))"
    return edited(is_more, (told, "longer"))


@unseen(
    "a member that restarts, and then hears the first one before it knows that the copy counted",
    "simulations/test_time_travel.py::test_what_a_node_made_is_given_to_nobody_before_it_is_sure",
)
def give_what_was_made_beside_a_copy() -> AbstractContextManager[Any]:
    """A node that is not sure gives its own log to who asks."""
    return edited(Replication.give, ("not until and not self.membership.sureness.sure", "False"))


@unseen(
    "a copy that promises more than the first one, and a late report of that one",
    "gossip/test_reports.py::test_a_promise_that_does_not_count_is_forgotten",
)
def believe_a_promise_that_does_not_count() -> AbstractContextManager[Any]:
    """A copy that is not sure yet promises for the first one."""
    return edited(Standings.learn, ("if report.mark:", "if True:"))


# -- strays ------------------------------------------------------------------------------------


@planted
def never_append_a_stray_again() -> AbstractContextManager[Any]:
    """Strays stay where they are."""
    return edited(Reorigination._append, ("store.strays.waiting() if", "[] if"))


@planted
def forget_a_stray_at_a_restart() -> AbstractContextManager[Any]:
    """A commit without a place that the log has is skipped at a start."""
    return edited(recovery._Replay._take_commit, ("self._strays.add(held)", "pass"))


@unseen(
    "a stray that waits while other shards settle, then a crash: a start that is cut off",
    "node/test_recovery_of_strays.py"
    "::test_strays_are_read_back_and_appended_again_whatever_became_of_the_index",
)
def begin_a_replay_behind_a_stray() -> AbstractContextManager[Any]:
    """The index names a place to begin that looks only at what is to be settled."""
    return edited(Store.__init__, ("history.oldest_stray = lambda: strays.oldest", "pass"))


@unseen(
    "a crash, or no room, within the sync in which strays are appended again",
    "node/test_recovery_of_strays.py::test_a_stray_holds_its_place_until_its_copy_is_on_the_disk",
)
def give_way_before_the_copy_is_durable() -> AbstractContextManager[Any]:
    """A stray is gone when its copy is written, not when that is on the disk."""
    return edited(
        Store.append_again,
        (
            "self.strays.begun(stray, self.stamp(Draft.of(commit, payloads), wall_ms))",
            "self.stamp(Draft.of(commit, payloads), wall_ms); self.strays.lost(stray)",
        ),
    )


@planted
def settle_past_a_stray() -> AbstractContextManager[Any]:
    """What comes after a stray in the order becomes final before that has its place."""
    return edited(
        Settler.round,
        ("strays.limit(shard, self.settlement.advance(shard))", "self.settlement.advance(shard)"),
    )


@unseen(
    "a state record in the log that tells more than was settled before the cut",
    "node/test_recovery_of_strays.py::test_a_shard_is_settled_no_further_than_its_first_stray",
)
def settle_past_a_stray_at_a_restart() -> AbstractContextManager[Any]:
    """The same while the log is read back."""
    return edited(
        recovery._Replay._settle,
        ("self._strays.limit(shard, self._due.pop(shard))", "self._due.pop(shard)"),
    )


@unseen(
    "a stray of a copied directory whose record the disk damages, and whose log gets it back",
    "node/test_recovery_of_strays.py::test_what_has_its_place_back_is_no_stray_whatever_became_of_"
    "what_was_set_aside",
)
def keep_a_stray_that_has_its_place_back() -> AbstractContextManager[Any]:
    """A commit that was cut, and comes again from a member, stays a stray beside."""
    return edited(Store.durable, ("self.strays.regained(held)", "pass"))


@planted
def keep_strays_that_others_have_appended() -> AbstractContextManager[Any]:
    """A stray gives way to nothing that comes from another node."""
    return edited(Strays.placed, ("for held in list(", "for held in 0 * list("))


# -- from one epoch to the next ------------------------------------------------------------------


@planted
def count_any_report() -> AbstractContextManager[Any]:
    """What a member reports counts, also while it is frozen or may have gone back in time."""
    counts = "not standing.mark or standing.mark != self._members.mark"
    return edited(Settler._count, (counts, "False"))


@planted
def report_on_while_frozen() -> AbstractContextManager[Any]:
    """What a frozen member takes counts, though its answer did not name it."""
    return edited(Epochs.may_report, (" and not self.frozen", ""))


@unseen(
    "a crash within the sync of a ballot or an epoch: slow disks beside evictions",
    "simulations/test_ballot_crashes.py::test_nothing_of_a_ballot_is_said_before_it_is_on_the_disk",
)
def enter_an_epoch_before_it_is_kept() -> AbstractContextManager[Any]:
    """An outcome goes on without waiting for the disk."""
    return edited(
        Membership._carry_out,
        (
            "await self._keep(outcome.keep)",
            "self._store.keep_epochs(outcome.keep, self._clock.wall_ms())",
        ),
    )


@unseen(
    "a frozen member that restarts, and reports, before the epoch is decided",
    "gossip/test_epochs.py::test_what_was_kept_is_what_goes_on",
)
def forget_a_ballot_at_a_restart() -> AbstractContextManager[Any]:
    """A member that was frozen when it went down is not when it is up again."""
    return edited(Epochs.restored.__func__, ("epochs._bound = bound", "pass"))


@unseen(
    "a second proposer just when the first one, which goes on, has a majority",
    "simulations/test_ballot_crashes.py"
    "::test_one_epoch_comes_out_whenever_nodes_die_in_a_ballot[before anybody is told-all]",
)
def propose_over_what_was_accepted() -> AbstractContextManager[Any]:
    """A new ballot puts its own change in the place of one that may have been decided."""
    return edited(Epochs._value, ("if accepted:", "if False:"))


@planted
def take_half_of_the_members_for_a_majority() -> AbstractContextManager[Any]:
    """Two of four decide, and settle."""
    return edited(Epoch.majority, ("len(self.members) // 2 + 1", "(len(self.members) + 1) // 2"))


@planted
def leave_what_the_finals_cut_off() -> AbstractContextManager[Any]:
    """A log of a removed origin keeps what lies above its finals."""
    return edited(Store.cut, ("self._end(log, self.members.end(log, seq))", "self._end(log, seq)"))


@planted
def take_the_last_answer_for_the_highest() -> AbstractContextManager[Any]:
    """Base and finals are what one of the frozen members holds."""
    return edited(epoch.successor, ("max(seq, highest.get((shard, origin), 0))", "seq"))


@planted
def a_floor_that_never_rises() -> AbstractContextManager[Any]:
    """Who joins is bound by promises of long ago only."""
    return edited(
        epoch.successor,
        ("max([epoch.floor, *(answer.promised for answer in answers)])", "epoch.floor"),
    )


@planted
def stamp_below_the_floor() -> AbstractContextManager[Any]:
    """The clock of who joins is not moved past the floor."""
    return edited(Store.take_place, ("if settled_in and", "if False and"))


@planted
def owe_the_base_alone() -> AbstractContextManager[Any]:
    """What is left of removed origins need not be here to settle, or to have a vote."""
    return edited(Epoch.__dict__["owed"].func, ("in self.finals.items():", "in ():"))


@planted
def count_before_the_base_is_here() -> AbstractContextManager[Any]:
    """Who joins counts for settlement with what the promises name, whatever the epoch owes."""
    return edited(
        EpochSettlement._held_by_majority,
        ("self._needs(shard, time)", "Settlement._needs(self, shard, time)"),
    )


@unseen(
    "a change right after one, decided by who joined with few commits copied",
    "gossip/test_epochs.py::test_who_has_no_vote_and_why",
)
def vote_before_the_base_is_here() -> AbstractContextManager[Any]:
    """Who joined a moment ago freezes and accepts like any other."""
    return edited(Epochs.hindrance, ("if missing:", "if False:"))


@planted
def wait_for_the_promise_of_a_removed_origin() -> AbstractContextManager[Any]:
    """Promises of an earlier epoch's members go on to count."""
    return edited(EpochSettlement.enter, ("self._promised = {", "self._promised |= {"))


@planted
def an_index_without_the_epochs() -> AbstractContextManager[Any]:
    """What is final was made so by members that a start does not know of."""
    return edited(History.write_settled, ("if self.membership is not None:", "if False:"))


# -- who joins ---------------------------------------------------------------------------------


@unseen(
    "a start that is not sure of its directory, and damage to the one record that tells of it",
    "node/test_recovery_of_strays.py::test_what_only_a_damaged_state_names_is_a_stray",
)
def drop_what_only_a_damaged_record_names() -> AbstractContextManager[Any]:
    """Commits of an origin that nothing tells of are nobody's."""
    return edited(recovery._Replay.end, ("self._take_unnamed()", "pass"))


@unseen(
    "damage to the one record with an epoch, and a later one that names its members as founders",
    "node/test_recovery_of_strays.py::test_an_epoch_that_only_its_founders_tell_of_cuts_as_well",
)
def cut_nothing_for_founders() -> AbstractContextManager[Any]:
    """Who is no founder after all keeps its places until the start is through."""
    return edited(recovery._Replay.take_state, ("if self._members.mark != before:", "if False:"))


@unseen(
    "a newcomer that restarts before it is let in, and whose file names only another newcomer",
    "simulations/test_regressions.py::test_it_is_mended[a-newcomer-without-addresses]",
)
def dial_nobody_but_members() -> AbstractContextManager[Any]:
    """Who has the address of no member asks nobody for one."""
    return edited(Replication.look, ("*members.guides, ", ""))


@unseen(
    "the first append at a newcomer amid the sync with which it learns of the epoch",
    "simulations/test_regressions.py::test_it_is_mended[a-newcomer-in-doubt]",
)
def number_again_what_a_founder_made() -> AbstractContextManager[Any]:
    """Who learns that it is no founder looks only at its commits that have a place on the disk."""
    return edited(
        Membership._take_stand,
        (
            "self._store.has_made(mine)",
            "any(log[1] == mine for log, _ in self._store.frontier.items())",
        ),
    )


@planted
def join_with_the_provisional_origin() -> AbstractContextManager[Any]:
    """The origin under which a node stamps, not the one with which it asks."""
    return edited(
        Membership._join, ("me.priority, self._store.origin", "me.priority, self._store.stamping")
    )


@planted
def ask_to_join_with_an_origin_that_was_removed() -> AbstractContextManager[Any]:
    """Who is removed goes on as who it was."""
    return edited(Membership._take_stand, ("if used:", "if False:"))


@planted
def stamp_under_an_origin_that_has_not_joined() -> AbstractContextManager[Any]:
    """Own sequences are used up before they have a place."""
    return edited(
        Store.stamping,
        ("self.origin if self.settled_in else self.provisional", "self.origin"),
    )


@planted
def keep_links_under_the_old_origin() -> AbstractContextManager[Any]:
    """Neither side hangs up after a node took another origin."""
    return edited(
        Replication.look,
        ("self._hang_up([*self._opened])", "pass"),
        ("there.get(name) and not renamed", "there.get(name)"),
    )


@unseen(
    "a node that leaves amid a cut, and whose disk is then gone for good",
    "simulations/test_members_change.py::test_who_leaves_hands_over_first_what_only_it_has",
)
def leave_before_all_is_handed_over() -> AbstractContextManager[Any]:
    """Who leaves does not wait until the others hold what is here."""
    return edited(Settler.is_handed_over, ("in (held | own).items()", "in ()"))


# -- what the gone have said -----------------------------------------------------------------------


@unseen(
    "a copy that makes commits while a member still tells the first one what it holds: one in 400 "
    "plans with a copy",
    "gossip/test_conversation.py::test_nothing_is_reported_to_a_start_that_has_a_newer_one",
)
def report_to_a_start_that_has_a_newer_one() -> AbstractContextManager[Any]:
    """The first one takes what the copy made for its own commits, and settles them."""
    return edited(Conversation.send, ("reports and self._outdated() is not None", "False"))


@unseen(
    "a node that has told of over 100 commits that nobody got, and comes back under a new origin",
    "simulations/test_wiped_nodes.py"
    "::test_who_said_that_it_had_much_that_nobody_else_got_is_let_in_all_the_same",
)
def wait_for_what_only_the_one_before_had() -> AbstractContextManager[Any]:
    """Who comes in the place of a member asks to be one only once it holds all that that had."""
    return edited(Settler.copied, (" and members.name(origin) != members.me", ""))


@unseen(
    "a majority of the disks lost, and something settled that the rest does not hold",
    "simulations/test_disputes.py::test_nobody_disputes_later_what_one_has_settled_who_is_gone",
)
def remember_what_the_removed_have_settled() -> AbstractContextManager[Any]:
    """What a removed member said that it had settled is compared once this node has got so far."""
    return edited(Settler.enter, ("claims.keys() & finals.keys()", "()"))


@unseen(
    "several nodes that lost their disks, found each other before they met the cluster, and start "
    "again soon",
    "node/test_recovery_of_strays.py"
    "::test_what_came_of_a_founder_before_both_met_a_cluster_is_a_stray",
)
def refuse_what_a_founder_made_who_never_was_one() -> AbstractContextManager[Any]:
    """A commit of an origin that is no member's is taken for damage, whenever it came."""
    return edited(recovery._Replay._take_commit, ("if not self._members.complete:", "if True:"))
