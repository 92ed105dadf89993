"""The place where issuers tell of logouts: without any proof but the token, small, and not for ever in a row."""

import pytest

from broker.api import back_channel
from broker.api.back_channel import PATH
from broker.errors import StateUnavailableError
from broker.identity.codes import token_error
from tests.integration.api.stage import serving

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


async def told(stage, body=b"logout_token=abc", headers=FORM, method="POST"):
    async with stage.client(credential=None, token=None) as client:
        response = await client.request(method, PATH, data=body, headers=headers)
        return response.status, (await response.json() if response.content_length else None), response.headers


def test_a_logout_is_taken_from_who_proves_nothing_else(pki, run):
    async def story():
        async with serving(pki) as stage:
            status, document, headers = await told(stage, b"logout_token=a.b.c&state=unknown")
            assert (status, document, headers["Cache-Control"]) == (200, None, "no-store")
            assert stage.logouts.taken == ["a.b.c"]
            assert stage.authenticator.presented == []
            assert stage.api.answers["backchannel_logout", 200] == 1

    run(story())


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"", FORM, 400, "logout_refused"),
        (b"token=a", FORM, 400, "logout_refused"),
        (b"logout_token=a&logout_token=b", FORM, 400, "logout_refused"),
        (b"logout_token=\xff", FORM, 400, "logout_refused"),
        (b"&".join([b"a=b"] * 20) + b"&logout_token=a", FORM, 400, "logout_refused"),
        (b"logout_token=" + b"a" * back_channel.LARGEST_FORM, FORM, 413, "body_too_large"),
        (b'{"logout_token":"a"}', {"Content-Type": "application/json"}, 415, "media_type_unsupported"),
        (b"logout_token=a", {**FORM, "Content-Encoding": "gzip"}, 415, "media_type_unsupported"),
    ],
)
def test_anything_but_a_small_form_with_one_token_is_refused(pki, run, body, headers, status, code):
    async def story():
        async with serving(pki) as stage:
            said, document, _ = await told(stage, body, headers)
            assert (said, document["code"]) == (status, code)
            assert stage.logouts.taken == []

    run(story())


def test_only_posts_are_taken(pki, run):
    async def story():
        async with serving(pki) as stage:
            status, _, headers = await told(stage, None, {}, "GET")
            assert (status, headers["Allow"]) == (405, "POST")

    run(story())


def test_what_is_refused_is_counted_and_what_is_not_stored_may_be_told_again(pki, run):
    async def story():
        async with serving(pki) as stage:
            stage.logouts.fails = token_error("logout_replayed")
            status, document, _ = await told(stage)
            assert (status, document["error"]) == (400, "invalid_request")
            assert document["reasons"][0]["code"] == "logout_replayed"
            assert [(listener, code) for listener, _, code in stage.refusals] == [("https", "logout_replayed")]
            stage.logouts.fails = StateUnavailableError("state_unavailable", "gone")
            assert (await told(stage))[0] == 503

    run(story())


def test_one_address_has_only_so_many_tries(pki, run, monkeypatch):
    monkeypatch.setattr(back_channel, "BURST", 3.0)
    monkeypatch.setattr(back_channel, "PER_SECOND", 0.001)

    async def story():
        async with serving(pki) as stage:
            assert [(await told(stage))[0] for _ in range(4)] == [200, 200, 200, 429]
            assert len(stage.logouts.taken) == 3

    run(story())
