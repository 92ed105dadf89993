"""A little of `make fuzz` that always draws the same, and whether it would notice what it is there for."""

from random import Random

import pytest

from tests.fuzz.__main__ import Tally
from tests.fuzz.targets import TARGETS, Target

every_target = pytest.mark.parametrize("target", TARGETS, ids=[target.name for target in TARGETS])


@every_target
def test_valid_messages_are_accepted(target: Target) -> None:
    random = Random(1)
    for _ in range(100):
        target.judge(target.valid(random))


@every_target
def test_mutated_messages_are_refused_or_right(target: Target) -> None:
    tally = Tally(target)
    tally.batch(Random(2), 400)
    assert not tally.findings, "\n".join(tally.findings.values())
    assert 0 < tally.accepted <= tally.tried == 400


def test_a_decoder_that_fails_in_another_way_is_a_finding() -> None:
    def careless(octets: bytes) -> None:
        octets[12]

    tally = Tally(Target("careless", lambda random: bytes(13), careless))
    tally.batch(Random(3), 100)
    (finding,) = tally.findings.values()
    assert "IndexError" in finding
