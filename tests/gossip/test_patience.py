"""How long a log is waited for: by what should have come, not by whether anything came."""

from anabranch.gossip.patience import Patience
from anabranch.storage.limits import BUSY_MATE_SECONDS

LOG = (0, 7)
SISTER = (1, 7)  # of the same origin
STRANGE = (0, 8)


def waits(looks, *, mate=None):
    """What a row of looks (own, theirs, now) says."""
    patience = Patience()
    return [patience.look(LOG, own, theirs, now, mate) for own, theirs, now in looks]


def test_the_wait_begins_with_the_first_look():
    assert waits([(0, 10, 5.0), (0, 10, 5.5), (0, 12, 6.0)]) == [0, 0.5, 1.0]


def test_what_drips_is_waited_for_no_shorter():
    assert waits([(0, 100, 0.0), (1, 200, 0.5), (2, 300, 1.0)]) == [0, 0.5, 1.0]


def test_a_new_wait_begins_once_all_has_come_that_was_there():
    looks = [(0, 10, 0.0), (10, 200, 0.5), (15, 300, 1.0), (200, 300, 2.0)]
    assert waits(looks) == [0, 0, 0.5, 0]


def test_a_mate_that_makes_progress_is_left_at_work():
    looks = [(0, 1000, 0.0), (10, 1000, 2.0), (20, 1000, 4.0), (20, 1000, 5.0)]
    assert waits(looks, mate="tok1") == [0, 0, 0, 1.0]


def test_what_was_pulled_did_not_come_by_itself():
    patience = Patience()
    patience.look(LOG, 0, 10, 0.0, None)
    patience.pulled(LOG, 10, 20)
    assert patience.look(LOG, 10, 20, 1.5, None) == 1.5


def test_a_log_that_was_not_behind_is_forgotten():
    patience = Patience()
    patience.look(LOG, 0, 10, 0.0, None)
    patience.forget_all_but({}, 1.0)
    assert patience.look(LOG, 0, 10, 9.0, None) == 0


def a_mate_at_work(log, *, until):
    """A mate passes on one commit of a log each second; how long LOG has been waited for then."""
    patience = Patience()
    for second in range(until + 1):
        patience.look(log, second, 1000, float(second), "tok1")
        waited = patience.look(LOG, 0, 10, float(second), "tok1")
    return waited


def test_a_mate_fetches_one_log_of_an_origin_after_the_other():
    assert a_mate_at_work(SISTER, until=100) == 0


def test_a_mate_that_fetches_other_things_is_waited_for_a_while_longer():
    assert a_mate_at_work(STRANGE, until=int(BUSY_MATE_SECONDS)) == 0
    assert a_mate_at_work(STRANGE, until=int(BUSY_MATE_SECONDS) + 5) == 5


def test_the_end_of_a_log_is_progress_too():
    patience = Patience()
    patience.look(SISTER, 0, 10, 0.0, "tok1")
    patience.look(LOG, 0, 10, 0.0, "tok1")
    patience.forget_all_but({LOG: (0, 10)}, 2.0)
    assert patience.look(LOG, 0, 10, 3.0, "tok1") == 1.0


def test_what_will_all_be_here_soon_is_left_to_come():
    assert waits([(0, 100, 0.0), (30, 200, 1.0), (60, 200, 2.0)]) == [0, 0, 0]


def test_what_came_fast_and_then_stopped_is_waited_for_like_anything():
    assert waits([(0, 100, 0.0), (60, 200, 1.0), (60, 200, 2.0), (60, 200, 2.5)])[-1] == 2.5


def test_the_wait_begins_anew_when_its_own_node_begins_to_push():
    patience = Patience()
    assert patience.look(LOG, 0, 100, 0.0, None) == 0
    assert patience.look(LOG, 0, 100, 4.0, None, pushed_since=3.0) == 1.0
    assert patience.look(LOG, 0, 100, 5.0, None, pushed_since=3.0) == 2.0
