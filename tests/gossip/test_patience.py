"""How long a log is waited for: by what should have come, not by whether anything came."""

from anabranch.gossip.patience import Patience

LOG = (0, 7)


def waits(looks, *, by_mate=False):
    """What a row of looks (own, theirs, now) says."""
    patience = Patience()
    return [patience.look(LOG, own, theirs, now, by_mate=by_mate) for own, theirs, now in looks]


def test_the_wait_begins_with_the_first_look():
    assert waits([(0, 10, 5.0), (0, 10, 5.5), (0, 12, 6.0)]) == [0, 0.5, 1.0]


def test_what_drips_is_waited_for_no_shorter():
    assert waits([(0, 10, 0.0), (1, 20, 0.5), (2, 30, 1.0)]) == [0, 0.5, 1.0]


def test_a_new_wait_begins_once_all_has_come_that_was_there():
    assert waits([(0, 10, 0.0), (10, 20, 0.5), (15, 30, 1.0), (20, 30, 2.0)]) == [0, 0, 0.5, 0]


def test_a_mate_that_makes_progress_is_left_at_work():
    looks = [(0, 1000, 0.0), (10, 1000, 2.0), (20, 1000, 4.0), (20, 1000, 5.0)]
    assert waits(looks, by_mate=True) == [0, 0, 0, 1.0]


def test_what_was_pulled_did_not_come_by_itself():
    patience = Patience()
    patience.look(LOG, 0, 10, 0.0, by_mate=False)
    patience.pulled(LOG, 10, 20)
    assert patience.look(LOG, 10, 20, 1.5, by_mate=False) == 1.5


def test_a_log_that_was_not_behind_is_forgotten():
    patience = Patience()
    patience.look(LOG, 0, 10, 0.0, by_mate=False)
    patience.forget_all_but({})
    assert patience.look(LOG, 0, 10, 9.0, by_mate=False) == 0
