"""Notifications through the real desk and register: decided, counted, on record before their session ends."""

from broker.engine.events import Refused
from broker.engine.subscription import Monitored, Subscription, let_through
from broker.engine.subscriptions import Subscriptions
from broker.listeners.notification_counts import record_counts
from broker.model.vocabulary import EndReason, Reason
from tests.unit.listeners.test_supervision import BO, NOW, READ, Stage

ZONE = Monitored("analog-value", 1, "present-value")


class Subscribed(Stage):
    """A client of ana's session has subscribed."""

    def __init__(self):
        super().__init__()
        self.subscriptions = Subscriptions(100)
        self.subscription = Subscription(self.session, "c", 7, ZONE, READ, 1, NOW)
        self.subscriptions.subscribe(self.subscription)
        self.session.last_words = lambda: record_counts(
            self, self.time, self.subscriptions.end_session(self.session, self.time)
        )

    def notified(self, times=1):
        found = []
        for _ in range(times):
            self.driver.run(self.session, let_through(self.subscription), found.append)
            self.settle_all()
        return found


def test_many_notifications_leave_one_decision_and_one_count_before_the_end_of_the_session():
    stage = Subscribed()
    before = len(stage.records)
    stage.notified(50)
    assert stage.kinds()[before:] == ["decision"]
    assert not stage.sent
    stage.time += 5
    stage.register.end(stage.session, EndReason.GRANT_ENDED)
    assert stage.kinds()[before:] == ["decision", "cov_counted", "session_closed"]
    counted = stage.records[-2]
    assert (counted["passed"], counted["withheld"], counted["decision"]) == (50, 0, before)
    assert (counted["object"], counted["property"]) == ("analog-value,1", "present-value")


def test_what_is_paused_is_withheld_and_counted_as_that():
    stage = Subscribed()
    stage.supervision.pause(stage.session, BO, "valve stuck")
    (refused,) = stage.notified()
    assert isinstance(refused, Refused) and refused.reasons == (Reason.SESSION_PAUSED,)
    stage.register.end(stage.session, EndReason.GRANT_ENDED)
    counted = stage.records[-2]
    assert (counted["passed"], counted["withheld"]) == (0, 1)


def test_a_session_ends_though_its_counts_cannot_be_told():
    stage = Subscribed()

    def mistaken():
        raise RuntimeError("a mistake")

    stage.session.last_words = mistaken
    stage.register.end(stage.session, EndReason.GRANT_ENDED)
    assert stage.kinds()[-1] == "session_closed"
    stage = Subscribed()
    stage.notified()
    stage.closed = True
    stage.register.end(stage.session, EndReason.GRANT_ENDED)
    assert stage.session.ended is EndReason.GRANT_ENDED
