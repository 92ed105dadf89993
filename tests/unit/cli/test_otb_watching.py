"""`otb sessions`: ids that are none, events in sentences, and a stream that is no broker's."""

import asyncio
from types import SimpleNamespace

import pytest

from broker.cli.people import unbroken
from broker.cli.people.client import read_events
from broker.cli.people.exits import CommandError, Exit
from broker.cli.people.sessions import _facts, _row, session_path
from broker.cli.people.watching import _status, sentence, watch

WRITE = {
    "at": "2026-11-28T09:00:00Z",
    "session": "ses-a",
    "subject": "ana@acme.example",
    "device": "plant/ahu-1",
    "service": "write-single-register",
    "points": [{"name": "setpoint", "value": "19.5", "unit": "°C"}, {"name": "mode"}],
    "raw_values": ["195"],
    "result": "done",
}


class Octets:
    """A stream of lines."""

    def __init__(self, *lines):
        self._lines = iter(lines)

    def __aiter__(self):
        return self

    async def __anext__(self):
        try:
            return next(self._lines)
        except StopIteration:
            raise StopAsyncIteration from None


def events(*lines):
    async def gathered():
        return [event async for event in read_events(Octets(*lines))]

    return asyncio.run(gathered())


def test_events_are_read_and_comments_passed_over():
    assert events(b": still here\n", b"\n", b"event: lost\n", b'data: {"count": 3}\n', b"\n") == [
        ("lost", {"count": 3})
    ]


@pytest.mark.parametrize("line", [b"data: {\n", b"data: []\n", b"data: {}\xff\n", b"data: " + b"[" * 100_000 + b"\n"])
def test_what_no_broker_sends_is_refused(line):
    with pytest.raises(CommandError) as caught:
        events(line)
    assert caught.value.code == "broker_odd"


class ClientDouble:
    """Streams that begin one after the other; of each the events come when they are put into its queue."""

    def __init__(self):
        self.token = "one"
        self.streams = []
        self.closed = []

    def bearer(self):
        return {"Authorization": self.token}

    async def events(self, path):
        stream = asyncio.Queue()
        self.streams.append(stream)
        try:
            while (event := await stream.get()) is not None:
                yield event
        finally:
            self.closed.append(stream)

    def tell(self, place, kind, **event):
        self.streams[place].put_nowait((kind, event))


EXPIRED = {"reason": "token_expired", "own_access": True}


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


def watched(monkeypatch, story):
    """What was shown while a story was played with the client, and the exit status."""
    monkeypatch.setattr(unbroken, "LOOK_SECONDS", 0.01)
    client, shown = ClientDouble(), []
    screen = SimpleNamespace(line=lambda event: shown.append(event["type"]), say=lambda *_: None)
    arguments = SimpleNamespace(session="", site="", approve=False)

    async def played():
        watching = asyncio.create_task(watch(arguments, client, screen))
        await until(lambda: client.streams)
        client.tell(0, "watching")
        await story(client, shown)
        return await watching

    return shown, asyncio.run(played())


def test_watching_goes_on_with_a_fresh_token_without_a_gap_and_ends_without_one(monkeypatch):
    async def story(client, shown):
        client.token = "two"
        await until(lambda: len(client.streams) == 2)
        client.tell(0, "operation")
        client.tell(0, "ending", **EXPIRED)
        await until(lambda: shown == ["watching", "operation"])
        client.tell(1, "watching")
        await until(lambda: client.closed == [client.streams[0]])
        client.tell(1, "ending", **EXPIRED)

    shown, status = watched(monkeypatch, story)
    assert shown == ["watching", "operation", "watching", "ending"]
    assert status is Exit.NOT_AUTHENTICATED


def test_a_second_stream_that_is_refused_ends_nothing_while_the_first_goes_on(monkeypatch):
    async def story(client, shown):
        client.token = "two"
        await until(lambda: len(client.streams) == 2)
        client.streams[1].put_nowait(None)
        await until(lambda: client.closed == [client.streams[1]])
        client.tell(0, "operation")
        client.tell(0, "ending", **EXPIRED)

    assert watched(monkeypatch, story) == (["watching", "operation", "ending"], Exit.NOT_AUTHENTICATED)


def test_an_end_that_no_fresh_token_helps_is_the_end(monkeypatch):
    async def story(client, shown):
        client.token = "two"
        await until(lambda: len(client.streams) == 2)
        client.tell(0, "ending", reason="policy_changed", own_access=True)

    assert watched(monkeypatch, story) == (["watching", "ending"], Exit.DENIED)


def test_events_that_break_off_are_an_error(monkeypatch):
    async def story(client, shown):
        client.streams[0].put_nowait(None)

    with pytest.raises(CommandError) as caught:
        watched(monkeypatch, story)
    assert caught.value.code == "connection_failed"


def test_an_operation_is_a_sentence_with_value_and_unit():
    told, style = sentence("operation", WRITE)
    assert told.endswith("ana@acme.example  plant/ahu-1  write-single-register setpoint = 19.5 °C, mode: done")
    assert style == ""


def test_a_denial_says_why_and_a_raw_write_what():
    denied = WRITE | {"result": "denied", "reasons": ["session_paused"], "points": []}
    denied["address"] = {"table": "holding-register", "start": 10, "count": 1}
    told, style = sentence("operation", denied)
    assert told.endswith("write-single-register holding-register 10 = 195: denied (session_paused)")
    assert style == "red"


def test_a_concealed_write_says_so():
    concealed = WRITE | {"points": [{"name": "code"}], "concealed": True}
    del concealed["raw_values"]
    assert sentence("operation", concealed)[0].endswith("code (values concealed): done")


@pytest.mark.parametrize("kind", ["watching", "operation", "session", "lost", "ending", "something"])
def test_every_event_has_a_sentence_even_if_its_members_are_missing(kind):
    assert sentence(kind, {})[0]


@pytest.mark.parametrize(
    ("reason", "own", "one", "status"),
    [
        ("window_closed", False, True, Exit.DONE),
        ("token_expired", False, True, Exit.DONE),
        ("token_expired", True, True, Exit.NOT_AUTHENTICATED),
        ("policy_changed", True, False, Exit.DENIED),
        ("broker_stopped", False, False, Exit.ERROR),
        ("broker_stopped", False, True, Exit.ERROR),
    ],
)
def test_the_exit_status_tells_whose_access_has_ended(reason, own, one, status):
    assert _status({"reason": reason, "own_access": own}, one) is status


@pytest.mark.parametrize("text", ["", "dec-a", "ses-" + "a" * 80, "ses-é"])
def test_what_is_no_sessions_id_is_said_at_once(text):
    with pytest.raises(CommandError):
        session_path(text)
    assert session_path("ses-a/../x") == "/v1/sessions/ses-a%2F..%2Fx"


def test_a_session_of_odd_shape_is_shown_without_failing():
    assert _row({})[0] == ""
    assert dict(_facts({"paused": {}, "grants": "x"}))["grants"] == "none"
