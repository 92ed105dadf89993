"""What a tool that explores a device is shown: the objects that it may look at, and what a device has of its own."""

import pytest

from broker.engine.commands import Decide, RecordDenial, Relay
from broker.engine.events import Answered, Further, Listed, Partly, Refused
from broker.engine.further import exchange_further
from broker.engine.object_list import list_objects
from broker.engine.partial import exchange_each
from broker.model.decision import Obligation
from broker.model.operation import Request
from broker.model.place import ModbusAddress, Point, Table, ValueType
from broker.model.vocabulary import Action, Reason
from tests.unit.engine.playbook import READ, Playbook, allow, deny, operation, request, session

LIST, OTHER, DENIED = 0, 1, 2
ASKED = request(*[Action.VIEW] * 3)
POINTS = tuple(Point(name, ModbusAddress(Table.HOLDING_REGISTER, 1, 1, ValueType.UINT16)) for name in ("one", "two"))
READS = {point.id: Request((operation(Action.VIEW),), b"", point.id) for point in POINTS}


def narrowed(asked: Request, places: tuple[int, ...]) -> Request:
    return Request(tuple(asked.operations[place] for place in places), bytes(places), "rest")


def play(decided: dict[int, object], points: dict[str, object], asked: Request = ASKED, lists: tuple[int, ...] = (0,)):
    def decide(command: Decide) -> object:
        if command.request is asked:
            return decided.get(command.place, allow())
        return points[command.request.digest]

    book = Playbook(Decide=decide, Relay=lambda c: READ)
    reads = [(point, READS[point.id]) for point in POINTS]
    return book, book.play(list_objects(session(), asked, lists, reads, narrowed))


BARRED = deny(Reason.POINT_NOT_DESCRIBED)


def test_the_list_is_made_of_the_points_that_may_be_looked_at_and_the_rest_goes_its_own_way():
    book, found = play({LIST: BARRED, DENIED: deny()}, {"one": allow(), "two": deny()})
    assert isinstance(found, Listed) and isinstance(found.finding, Partly)
    assert (found.points, found.places, found.finding.denied_places) == (POINTS[:1], (LIST,), (DENIED,))
    (sent,) = (c for c in book.trace if isinstance(c, Relay))
    assert (sent.request.payload, sent.request.part_of) == (bytes((OTHER,)), ASKED.digest)
    (refused,) = (c for c in book.trace if isinstance(c, RecordDenial))
    assert refused.places == (DENIED,)


def test_a_list_by_itself_is_made_without_a_record_of_denial_or_anything_sent():
    alone = request(Action.VIEW)
    book, found = play({LIST: BARRED}, {"one": allow(), "two": allow()}, alone)
    assert found == Listed(POINTS, (LIST,), None)
    assert set(book.names()) == {"Decide", "LastLook"}


def test_a_list_beside_what_is_denied_sends_nothing():
    several = request(*[Action.VIEW] * 2)
    book, found = play({LIST: BARRED, OTHER: deny()}, {"one": allow(), "two": deny()}, several)
    assert isinstance(found, Listed) and isinstance(found.finding, Refused)
    assert [c.places for c in book.trace if isinstance(c, RecordDenial)] == [(OTHER,)]
    assert "Relay" not in book.names()


@pytest.mark.parametrize(
    ("decided", "points"),
    [
        ({LIST: BARRED}, {"one": deny(), "two": deny()}),
        ({LIST: deny(Reason.LOCKED)}, {}),
        ({LIST: deny(Reason.POINT_NOT_DESCRIBED, Reason.NO_GRANT)}, {}),
        ({LIST: BARRED, OTHER: allow(Obligation.STEP_UP)}, {"one": allow(), "two": allow()}),
    ],
)
def test_who_may_look_at_nothing_or_is_barred_for_another_reason_gets_no_list(decided, points):
    book, found = play(decided, points)
    assert not isinstance(found, Listed)
    (refused,) = (c for c in book.trace if isinstance(c, RecordDenial))
    assert refused.places in (None, (LIST,))


def test_a_list_that_may_be_read_is_the_devices_own():
    _, found = play({}, {})
    assert isinstance(found, Answered)


def test_what_is_asked_further_is_decided_and_recorded_for_itself():
    further = request(Action.VIEW, Action.VIEW)
    book = Playbook(Decide=lambda c: deny() if c.request is further and c.place else allow(), Relay=lambda c: READ)
    steps = exchange_each(session(), ASKED, narrowed)
    found = book.play(exchange_further(session(), steps, lambda first: further, narrowed))
    assert isinstance(found, Further) and isinstance(found.first, Answered)
    assert isinstance(found.finding, Partly) and found.finding.denied_places == (1,)
    assert [c.places for c in book.trace if isinstance(c, RecordDenial)] == [(1,)]
    assert book.names().count("RecordIntents") == book.names().count("RecordOutcomes") == 2


def test_nothing_further_is_asked_where_there_is_no_reason():
    book = Playbook(Relay=lambda c: READ)
    steps = exchange_each(session(), ASKED, narrowed)
    found = book.play(exchange_further(session(), steps, lambda first: None, narrowed))
    assert isinstance(found, Answered) and book.names().count("Relay") == 1
