"""A view of which a part is denied is carried out for the rest; a write is all or nothing."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.engine.commands import Decide, RecordDenial, RecordIntents, RecordOutcomes, Relay
from broker.engine.events import Answered, Partly, Refused
from broker.engine.exchange import exchange
from broker.engine.partial import exchange_each
from broker.model.decision import Obligation
from broker.model.operation import Relayed, Request
from broker.model.vocabulary import Action, Reason, Result
from tests.unit.engine.playbook import READ, Playbook, allow, armed, deny, request, session

VIEWS = request(*[Action.VIEW] * 3)
WRITES = request(*[Action.ADJUST] * 3)


def narrowed(asked: Request, places: tuple[int, ...]) -> Request:
    """Octets that say which operations are left."""
    left = tuple(asked.operations[place] for place in places)
    return Request(left, bytes(places), "rest-" + "".join(map(str, places)))


def play(asked, *denied, **answers):
    decide = {"Decide": lambda c: deny(Reason.POINT_NOT_GRANTED) if c.place in denied else allow()}
    book = Playbook(**(decide | {"Relay": lambda c: READ} | answers))
    return book, book.play(exchange_each(session(), asked, narrowed))


def of_kind(book, kind):
    return [command for command in book.trace if isinstance(command, kind)]


@pytest.mark.parametrize("asked", [VIEWS, WRITES])
def test_what_is_allowed_whole_goes_the_way_of_any_request(asked):
    book, finding = play(asked)
    plain = Playbook(Relay=lambda c: READ)
    assert plain.play(exchange(session(), asked)) == finding
    assert book.names() == plain.names()


@pytest.mark.parametrize("denied", [(0,), (1,), (2,), (0, 2), (1, 2)])
def test_the_denied_part_of_a_view_is_recorded_and_only_the_rest_is_sent(denied):
    book, finding = play(VIEWS, *denied)
    left = tuple(place for place in range(3) if place not in denied)
    assert book.names() == ["Decide"] * 3 + ["RecordDenial", "RecordIntents", "LastLook", "Relay", "RecordOutcomes"]
    (refused,), (sent,) = of_kind(book, RecordDenial), of_kind(book, Relay)
    assert (refused.request, refused.places) == (VIEWS, denied)
    assert (sent.request.payload, sent.request.part_of) == (bytes(left), VIEWS.digest)
    assert sent.decisions == (allow(),) * len(left)
    assert isinstance(finding, Partly)
    assert (finding.denied_places, len(finding.decisions)) == (denied, 3)
    assert isinstance(finding.finding, Answered) and finding.finding.relayed is READ


@pytest.mark.parametrize("denied", [(0,), (2,), (0, 1, 2)])
def test_a_write_of_which_any_part_is_denied_is_denied_whole_and_every_reason_is_known(denied):
    book, finding = play(WRITES, *denied)
    assert book.names() == ["Decide"] * 3 + ["RecordDenial"]
    assert of_kind(book, RecordDenial)[0].places is None
    assert isinstance(finding, Refused)
    assert (finding.denied_places, finding.reasons) == (denied, (Reason.POINT_NOT_GRANTED,))


def test_one_write_among_views_makes_the_request_a_write():
    book, finding = play(request(Action.VIEW, Action.ADJUST), 0)
    assert isinstance(finding, Refused) and not of_kind(book, Relay)


def test_a_view_that_is_denied_whole_is_not_narrowed():
    book, finding = play(VIEWS, 0, 1, 2)
    assert book.names() == ["Decide"] * 3 + ["RecordDenial"]
    assert isinstance(finding, Refused)


@pytest.mark.parametrize("concerned", [allow(Obligation.STEP_UP), armed(Obligation.STEP_UP)])
def test_what_persons_arm_is_not_narrowed(concerned):
    book, finding = play(VIEWS, Decide=lambda c: (deny(), concerned, allow())[c.place])
    assert isinstance(finding, Refused) and book.names() == ["Decide"] * 3 + ["RecordDenial"]


@pytest.mark.parametrize(
    ("failing", "reasons"),
    [
        ({"RecordIntents": lambda c: Reason.LEDGER_CLOSED}, (Reason.LEDGER_CLOSED,)),
        ({"LastLook": lambda c: Reason.SESSION_ENDED}, (Reason.SESSION_ENDED,)),
    ],
)
def test_what_is_left_can_still_be_refused(failing, reasons):
    book, finding = play(VIEWS, 1, **failing)
    assert isinstance(finding, Partly) and isinstance(finding.finding, Refused)
    assert finding.finding.reasons == reasons and not of_kind(book, Relay)


def test_what_is_left_and_was_overtaken_is_decided_again_without_what_was_denied():
    words = iter((Reason.ACCESS_CHANGED, ""))
    decisions = iter((allow(), deny(), allow(), allow(), allow()))
    book, finding = play(VIEWS, Decide=lambda c: next(decisions), LastLook=lambda c: next(words))
    assert isinstance(finding, Partly) and isinstance(finding.finding, Answered)
    assert [len(c.request.operations) for c in of_kind(book, Decide)] == [3, 3, 3, 2, 2]


_DECISIONS = st.sampled_from([allow(), deny(), deny(Reason.LOCKED), allow(Obligation.STEP_UP)])


@given(data=st.data(), actions=st.lists(st.sampled_from([Action.VIEW, Action.ADJUST]), min_size=1, max_size=4))
def test_nothing_that_was_denied_is_ever_sent_and_every_operation_is_decided_once(data, actions):
    asked = request(*actions)
    decisions = [data.draw(_DECISIONS) for _ in actions]
    book = Playbook(
        Decide=lambda c: decisions[c.place] if c.request is asked else allow(),
        RecordIntents=lambda c: data.draw(st.sampled_from([10, Reason.LEDGER_PAUSED])),
        LastLook=lambda c: data.draw(st.sampled_from(["", Reason.SESSION_ENDED])),
        Relay=lambda c: Relayed(data.draw(st.sampled_from(list(Result)))),
        RecordOutcomes=lambda c: data.draw(st.booleans()),
    )
    finding = book.play(exchange_each(session(), asked, narrowed))
    assert [c.place for c in of_kind(book, Decide)] == list(range(len(actions)))
    allowed = [op for op, decision in zip(asked.operations, decisions, strict=True) if decision.allow]
    for sent in of_kind(book, Relay):
        assert all(any(each is one for one in allowed) for each in sent.request.operations)
        assert len(sent.decisions) == len(sent.request.operations)
    assert len(of_kind(book, RecordIntents)) <= 1
    assert len(of_kind(book, RecordOutcomes)) <= 1
    if not all(decision.allow for decision in decisions):
        assert len(of_kind(book, RecordDenial)) >= 1
        assert not (asked.writes and of_kind(book, Relay))
    if isinstance(finding, Partly):
        assert finding.denied_places == tuple(p for p, decision in enumerate(decisions) if not decision.allow)


def test_what_is_left_keeps_its_own_digest_and_names_the_one_that_was_asked():
    rest = replace(narrowed(VIEWS, (0, 2)), part_of=VIEWS.digest)
    assert (rest.digest, rest.part_of, rest.writes) == ("rest-02", "write", False)


def too_long(sent: Relay, most: int) -> Relayed:
    """A device that tells so many properties at a time, and aborts when it is asked for more."""
    if len(sent.request.operations) > most:
        return Relayed(Result.DEVICE_REFUSED, b"\x70\x04", code="abort-segmentation-not-supported")
    return Relayed(Result.DONE, b"\x30\x0e" + bytes([0x10 + place for place in sent.request.payload]))


def by_places(asked: Request, places: tuple[int, ...]) -> Request:
    """The payload names the places in the request as it was asked first, whatever it is divided into."""
    left = tuple(asked.operations[place] for place in places)
    return Request(left, bytes(asked.payload[place] for place in places), "part")


@pytest.mark.parametrize("most", [1, 2, 3, 5])
def test_a_view_that_is_too_long_for_the_device_is_asked_in_parts_and_answered_as_one(most):
    asked = replace(request(*[Action.VIEW] * 5), payload=bytes(range(5)))
    book = Playbook(Decide=lambda c: allow(), Relay=lambda c: too_long(c, most))
    finding = book.play(exchange_each(session(), asked, by_places))
    assert isinstance(finding, Answered)
    assert finding.relayed == Relayed(Result.DONE, b"\x30\x0e" + bytes(range(0x10, 0x15)))
    assert len(of_kind(book, RecordIntents)) == len(of_kind(book, RecordOutcomes)) == len(of_kind(book, Relay))
    parts = [command.request for command in of_kind(book, Relay)][1:]
    assert all(part.part_of == asked.digest for part in parts)


def test_one_property_that_is_too_long_alone_is_the_devices_refusal():
    asked = replace(request(*[Action.VIEW] * 2), payload=bytes(2))
    book = Playbook(Decide=lambda c: allow(), Relay=lambda c: too_long(c, 0))
    finding = book.play(exchange_each(session(), asked, by_places))
    assert isinstance(finding, Answered)
    assert finding.relayed.result == Result.DEVICE_REFUSED
    assert len(of_kind(book, Relay)) == 2


def test_a_write_that_is_too_long_is_never_divided():
    asked = replace(request(*[Action.ADJUST] * 4), payload=bytes(4))
    book = Playbook(Decide=lambda c: allow(), Relay=lambda c: too_long(c, 1))
    book.play(exchange_each(session(), asked, by_places))
    assert len(of_kind(book, Relay)) == 1
