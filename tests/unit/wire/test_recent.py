"""What is remembered is bounded."""

from broker.wire.recent import Recent


def test_what_was_kept_first_is_forgotten_first() -> None:
    recent: Recent[int, str] = Recent(2)
    for number in (1, 2, 3):
        recent.keep(number, str(number))
    assert dict(recent) == {2: "2", 3: "3"}
