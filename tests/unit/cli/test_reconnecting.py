"""What `otb connect` says when it does not try again."""

import asyncio

import pytest

from broker.cli.people import reconnecting
from broker.cli.people.exits import Exit, ProblemError
from broker.cli.people.problem_words import sentences
from broker.cli.people.reconnecting import Reconnecting
from broker.cli.people.tunnel_link import Ending

ASK = "Ask the owner of the site; nothing helps but that the lock is lifted or ends."


class Client:
    """Lets one in so often, and then refuses for this reason."""

    def __init__(self, reason, times):
        self._reason, self._left = reason, times

    def bearer(self):
        return {}

    def proofs_on_disk(self):
        return None

    async def open_tunnel(self, path, subprotocol):
        self._left -= 1
        if self._left < 0:
            reasons = [{"code": self._reason, "text": "No."}]
            raise ProblemError({"code": "denied", "title": "Denied.", "reasons": reasons, "what_to_do": ASK})
        return self


class Side:
    path, subprotocol, names = "/x", "x", {}

    def linked(self, socket):
        return self

    def counts(self):
        return {}


def last_words(monkeypatch, reason, times):
    async def served(*_):
        return Ending("locked", "A lock was set on you.")

    async def at_once(pause):
        return pause

    monkeypatch.setattr(Reconnecting, "_serve", served)
    monkeypatch.setattr(reconnecting, "_rest", at_once)
    with pytest.raises(ProblemError) as caught:
        asyncio.run(Reconnecting(Client(reason, times), lambda event: None).run(Side()))
    assert caught.value.status == Exit.DENIED
    return [line for line, _ in sentences(caught.value.document)][-1]


def test_after_a_lock_the_last_words_are_that_it_is_over_and_when_to_start_again(monkeypatch):
    assert last_words(monkeypatch, "locked", 1) == (
        f"What to do: {ASK} `otb connect` has ended for good and does not try again by itself: "
        "start it again when the lock is lifted or has ended."
    )


def test_after_any_other_end_for_good_one_may_start_again_with_access(monkeypatch):
    assert last_words(monkeypatch, "no_grant", 2).endswith("start it again when you have access again.")


def test_who_was_never_connected_is_told_no_more_than_why(monkeypatch):
    assert last_words(monkeypatch, "locked", 0) == f"What to do: {ASK}"
