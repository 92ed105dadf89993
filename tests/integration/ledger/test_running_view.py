"""Whose a record of the running ledger is, however many sessions came after it."""

import asyncio
from dataclasses import replace
from pathlib import Path
from time import time

import pytest

from broker.adapters.ledger_files import FileLedger
from broker.api.evidence_ports import Filters
from broker.ledger import records
from broker.model.vocabulary import RecordKind
from broker.wiring import ledger_view
from broker.wiring.ledger_view import RunningLedgerView
from tests.integration.ledger.running import intent, opened, outcome, settled

ANA = {"subject": {"id": "ana"}, "device": {"site": "plant", "id": "ahu-1"}}
BMS = {"subject": {"id": "bms"}, "device": {"site": "plant", "id": "meter-1"}}
DONE = ["intent", "outcome"]


@pytest.fixture(autouse=True)
def few_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_view, "SESSIONS_REMEMBERED", 3)


def test_what_somebody_wrote_is_found_however_many_sessions_came_later(tmp_path: Path) -> None:
    async def scene() -> None:
        async with opened(tmp_path) as ledger:
            _let_in(ledger, "ses-a", ANA)
            _write(ledger, "ses-a", ANA)
            _close(ledger, "ses-a")
            _others(ledger, 5)
            assert await settled(ledger) is None
            view = RunningLedgerView(ledger)
            whole = ["decision", "session_opened", "decision", *DONE]
            for filters in (Filters(subject="ana"), Filters(device="plant/ahu-1")):
                assert _kinds(view, filters) == whole
            both = Filters(subject="ana", device="plant/ahu-1", kinds=("outcome",))
            assert _kinds(view, both) == ["outcome"]
            assert _kinds(view, Filters(subject="bms", device="plant/ahu-1")) == []
            assert _kinds(view, Filters(session="ses-a")) == [*whole, "session_closed"]

    asyncio.run(scene())


def test_a_session_that_is_open_is_not_forgotten_for_any_that_end(tmp_path: Path) -> None:
    async def scene() -> None:
        async with opened(tmp_path) as ledger:
            view = RunningLedgerView(ledger)
            _let_in(ledger, "ses-a", ANA)
            for _ in range(2):
                _others(ledger, 5)
                ledger.append(records.session_act(RecordKind.SESSION_PAUSED, time(), session="ses-a", by="bo"))
                assert await settled(ledger) is None
                assert _kinds(view, Filters(subject="ana"))[-1] == "session_paused"
            _close(ledger, "ses-a")
            assert await settled(ledger) is None
            assert _kinds(view, Filters(device="plant/ahu-1"))[-3:] == [*["session_paused"] * 2, "session_closed"]

    asyncio.run(scene())


def test_what_is_done_through_the_api_is_found_by_the_device_that_the_decision_names(tmp_path: Path) -> None:
    async def scene() -> None:
        async with opened(tmp_path) as ledger:
            _let_in(ledger, "ses-a", ANA, device="")
            _write(ledger, "ses-a", ANA)
            _write(ledger, "ses-a", {**BMS, "subject": ANA["subject"]})
            assert await settled(ledger) is None
            view = RunningLedgerView(ledger)
            for device in ("plant/ahu-1", "plant/meter-1"):
                assert _kinds(view, Filters(device=device, kinds=tuple(DONE))) == DONE

    asyncio.run(scene())


def _kinds(view: RunningLedgerView, filters: Filters) -> list[str]:
    page = view.search(replace(filters, oldest_first=True))
    assert page.cursor is None
    return [record["kind"] for _, record in page.records]


def _others(ledger: FileLedger, count: int) -> None:
    for number in range(count):
        _let_in(ledger, f"ses-b{number}", BMS)
        _close(ledger, f"ses-b{number}")


def _let_in(ledger: FileLedger, session: str, who: dict[str, dict[str, str]], device: str | None = None) -> None:
    opening = records.session_opened(
        time(),
        session=session,
        subject=who["subject"],
        device="/".join(who["device"].values()) if device is None else device,
        listener="modbus_tls",
        peer="127.0.0.1:4711",
        proofs=[],
        decision=_decide(ledger, session, who),
    )
    ledger.append(opening)


def _write(ledger: FileLedger, session: str, who: dict[str, dict[str, str]]) -> None:
    ledger.append(outcome(ledger.append(intent(_decide(ledger, session, who), session))))


def _decide(ledger: FileLedger, session: str, who: dict[str, dict[str, str]]) -> int:
    decision = records.decision(
        time(),
        id="d",
        session=session,
        entry_point="operation.decision",
        input=who,
        answer={"allow": True, "reasons": [], "obligations": [], "rule": "grant/g"},
        revision="r",
        allow=True,
        reasons=(),
    )
    return ledger.append(decision)


def _close(ledger: FileLedger, session: str) -> None:
    closing = records.session_closed(time(), session=session, reason="peer_closed", operations=0, refusals=0)
    ledger.append(closing)
