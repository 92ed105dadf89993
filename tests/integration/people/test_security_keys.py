"""Security keys: registered and asserted with user verification, each challenge once, for one relying party."""

import json
from pathlib import Path
from typing import Any

import pytest
from fido2.webauthn import AuthenticatorData
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.adapters.security_keys import SecurityKeys
from broker.adapters.state_database import StatePlace, sqlite_place
from broker.errors import EnrolmentError
from broker.model.enrolment import FactorKind
from broker.wiring.people.factors import CHALLENGE_SECONDS
from tests.integration.people.stage import EVE, Somebody, Stage, played, refusal, request_of
from tests.security_key import SecurityKey

FLAG = AuthenticatorData.FLAG


@pytest.fixture
def sqlite(tmp_path: Path) -> StatePlace:
    return sqlite_place(tmp_path / "broker.db")


async def enrolled(stage: Stage, key: SecurityKey) -> Somebody:
    eve, enrolment = Somebody(stage), stage.people.enrolment
    offer = await enrolment.begin(await stage.invite(), request_of(eve.key), FactorKind.WEBAUTHN)
    assert offer.options is not None
    eve.issued = await enrolment.complete(offer.ticket, "", key.register(offer.options))
    assert eve.issued.certificate.methods == ("hwk",)
    return eve


async def asked(stage: Stage, eve: Somebody) -> tuple[str, dict[str, Any]]:
    from cryptography.x509 import load_pem_x509_certificate

    from broker.identity.renewal import sign_renewal

    assert eve.issued is not None
    request = request_of(eve.key)
    signature = sign_renewal(eve.key, load_pem_x509_certificate(eve.issued.chain.encode()), request.encode())
    offer = await stage.people.enrolment.begin_renewal(eve.issued.chain, request, signature)
    assert offer.options is not None
    return offer.ticket, offer.options


def test_a_key_is_registered_and_renews(place: StatePlace, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        key = SecurityKey()
        eve, renew = await enrolled(stage, key), stage.people.enrolment.complete_renewal
        stage.world.pass_time(60)
        ticket, options = await asked(stage, eve)
        answer = key.sign(options)
        renewed = await renew(ticket, "", answer)
        assert (renewed.certificate.factor_at, renewed.certificate.methods) == (stage.world.wall, ("hwk",))
        ticket, _ = await asked(stage, eve)
        assert await refusal(renew(ticket, "", answer)) == "factor_refused", "the answer to another challenge"
        assert await refusal(stage.people.factors.verify(EVE, "123456")) == "factor_missing"

    played(place, tmp_path, story)


def test_a_challenge_is_answered_once_in_time_and_by_whom_it_was_for(sqlite: StatePlace, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        key, factors = SecurityKey(), stage.people.factors
        await enrolled(stage, key)
        identifier, options = await factors.challenge(EVE)
        answer = key.sign(options)
        assert (await factors.verify_assertion(EVE, identifier, answer)).methods == ("hwk",)
        assert await refusal(factors.verify_assertion(EVE, identifier, answer)) == "factor_refused"
        identifier, options = await factors.challenge(EVE)
        stage.world.pass_time(CHALLENGE_SECONDS)
        assert await refusal(factors.verify_assertion(EVE, identifier, key.sign(options))) == "factor_refused"
        assert await refusal(factors.challenge("dan@northwind.example")) == "factor_missing"

    played(sqlite, tmp_path, story)


LIES: dict[str, Any] = {
    "another origin": {"origin": "https://localhost.evil.example"},
    "a frame of another page": {"cross_origin": True},
    "another challenge": {"challenge": b"x" * 32},
    "a registration": {"type": "webauthn.create"},
    "nobody was there": {"flags": FLAG(0)},
    "nobody was verified": {"flags": FLAG.UP},
}


@pytest.mark.parametrize("lie", LIES)
def test_what_is_not_the_answer_to_the_challenge_proves_nothing(lie: str, sqlite: StatePlace, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        key, factors = SecurityKey(), stage.people.factors
        await enrolled(stage, key)
        identifier, options = await factors.challenge(EVE)
        assert await refusal(factors.verify_assertion(EVE, identifier, key.sign(options, **LIES[lie]))) == REFUSED
        identifier, options = await factors.challenge(EVE)
        other = SecurityKey()
        other.identifier = key.identifier
        assert await refusal(factors.verify_assertion(EVE, identifier, other.sign(options))) == REFUSED

    played(sqlite, tmp_path, story)


def test_a_copied_key_whose_counter_goes_back_is_refused(sqlite: StatePlace, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        key, factors = SecurityKey(), stage.people.factors
        await enrolled(stage, key)
        identifier, options = await factors.challenge(EVE)
        key.counter = 0
        assert await refusal(factors.verify_assertion(EVE, identifier, key.sign(options))) == REFUSED

    played(sqlite, tmp_path, story)


def test_a_key_that_has_counted_does_not_say_0_again(sqlite: StatePlace, tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        key, factors = SecurityKey(), stage.people.factors
        await enrolled(stage, key)
        identifier, options = await factors.challenge(EVE)
        key.counter = None
        assert await refusal(factors.verify_assertion(EVE, identifier, key.sign(options))) == REFUSED
        identifier, options = await factors.challenge(EVE)
        key.counter = 1
        assert (await factors.verify_assertion(EVE, identifier, key.sign(options))).methods == ("hwk",)

    played(sqlite, tmp_path, story)


def test_a_key_that_does_not_count_proves_as_often_as_it_is_asked_until_it_counts(
    place: StatePlace, tmp_path: Path
) -> None:
    async def story(stage: Stage) -> None:
        key, factors = SecurityKey(), stage.people.factors
        key.counter = None
        await enrolled(stage, key)
        for counter, answer in ((None, "proven"), (None, "proven"), (4, "proven"), (None, REFUSED), (3, REFUSED)):
            identifier, options = await factors.challenge(EVE)
            key.counter = counter
            proving = factors.verify_assertion(EVE, identifier, key.sign(options))
            if answer == "proven":
                await proving
            else:
                assert await refusal(proving) == answer

    played(place, tmp_path, story)


REFUSED = "factor_refused"
KEYS = SecurityKeys("localhost", "x", frozenset({"https://localhost"}))
GOOD = SecurityKey()
ASKED = KEYS.registration(EVE)
REGISTERED = GOOD.register(ASKED.options)
CREDENTIAL, _ = KEYS.registered(ASKED, REGISTERED)
ASSERTION = KEYS.assertion(CREDENTIAL)
SIGNED = GOOD.sign(ASSERTION.options)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_whatever_a_key_answers_is_taken_or_refused(data: st.DataObject) -> None:
    text = json.dumps(data.draw(st.sampled_from([REGISTERED, SIGNED])))
    place = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.sampled_from('AZaz09-_"{}[]:,0 '))
    try:
        answer = json.loads(text[:place] + letter + text[place + 1 :])
    except ValueError:
        return
    for work in (lambda: KEYS.registered(ASKED, answer), lambda: KEYS.asserted(ASSERTION, CREDENTIAL, answer)):
        try:
            work()
        except EnrolmentError as error:
            assert error.code == REFUSED
