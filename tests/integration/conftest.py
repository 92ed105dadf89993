"""What holds for every test with real parts."""

import pytest

from broker.adapters import state_database


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that many ask at once on a busy machine is slow, which is no claim of these tests."""
    monkeypatch.setattr(state_database, "ANSWER_SECONDS", 20.0)
