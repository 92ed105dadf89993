import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.api.idempotency import Answer, IdempotencyStore, fingerprint_of, idempotency_key
from broker.api.problems import Problem

KEPT = Answer(200, "application/json", b"{}", True)


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def store(**bounds):
    return IdempotencyStore(Clock(), **bounds)


def code_of(call):
    with pytest.raises(Problem) as caught:
        call()
    return caught.value.code


def test_the_same_call_gets_the_same_answer():
    kept = store()
    assert kept.begin("ana", "k", b"1") is None
    kept.finish("ana", "k", KEPT)
    assert kept.begin("ana", "k", b"1") is KEPT


def test_a_call_in_flight_is_not_begun_again():
    kept = store()
    kept.begin("ana", "k", b"1")
    assert code_of(lambda: kept.begin("ana", "k", b"1")) == "idempotency_in_flight"


def test_a_key_belongs_to_one_call_of_one_subject():
    kept = store()
    kept.begin("ana", "k", b"1")
    assert code_of(lambda: kept.begin("ana", "k", b"2")) == "idempotency_key_reused"
    assert kept.begin("bo", "k", b"2") is None


@pytest.mark.parametrize("answer", [None, Answer(403, "application/problem+json", b"{}", False)])
def test_a_call_that_sent_nothing_leaves_its_key_unused(answer):
    kept = store()
    kept.begin("ana", "k", b"1")
    kept.finish("ana", "k", answer)
    assert kept.begin("ana", "k", b"2") is None


def test_an_answer_is_kept_for_a_day_and_no_longer():
    kept = store()
    kept.begin("ana", "k", b"1")
    kept.finish("ana", "k", KEPT)
    kept.monotonic.now = 86_399.0
    assert kept.begin("ana", "k", b"1") is KEPT
    kept.monotonic.now = 86_401.0
    assert kept.begin("ana", "k", b"1") is None


def test_what_is_in_flight_is_never_forgotten():
    kept = store(max_keys=2, max_keys_of_subject=2)
    for key in ("a", "b", "c"):
        kept.begin("ana", key, b"1")
    for key in ("a", "b", "c"):
        assert code_of(lambda key=key: kept.begin("ana", key, b"1")) == "idempotency_in_flight"


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 30), st.integers(0, 50)), max_size=120))
def test_the_store_stays_within_its_bounds(calls):
    kept = store(max_keys=20, max_keys_of_subject=10, max_octets=200)
    for subject, key, size in calls:
        try:
            known = kept.begin(subject, str(key), b"1")
        except Problem:
            continue
        if known is None:
            kept.finish(subject, str(key), Answer(200, "application/json", b"x" * size, True))
        assert len(kept._entries) <= 20
        assert kept._octets == sum(len(e.answer.body) for e in kept._entries.values() if e.answer) <= 200
        assert all(len(mine) <= 10 for mine in kept._of_subject.values())
        assert {(s, k) for s, mine in kept._of_subject.items() for k in mine} == set(kept._entries)


@pytest.mark.parametrize("key", ["", "a b", "x" * 129, "é", "a\x7f"])
def test_odd_keys_are_refused(key):
    assert code_of(lambda: idempotency_key(key)) == "idempotency_key_invalid"


def test_good_keys_are_taken():
    assert idempotency_key(None) is None
    assert idempotency_key('"8e03978e-40d5-43dd-bc93-6894a57f9324"') is not None


def test_path_and_body_make_the_call():
    assert len({fingerprint_of("/a", b"b"), fingerprint_of("/a", b"c"), fingerprint_of("/ab", b"")}) == 3
