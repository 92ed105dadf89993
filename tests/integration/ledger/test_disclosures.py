"""Salts live beside the ledger, can be shown, can be erased for good while others are written, and go with records."""

import asyncio
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from broker.adapters import ledger_disclosures
from broker.adapters.ledger_disclosures import FOLDER, DisclosureFiles, DisclosureWriter
from broker.adapters.ledger_files_open import OpenThings
from broker.adapters.ledger_files_writer import State
from broker.errors import LedgerUnavailableError
from broker.ledger import operation_records
from broker.ledger.disclosure import verify_disclosure


@dataclass
class Ledger:
    """What disclosures ask of a ledger."""

    size: int = 0
    state: State = State.OPEN
    detail: str = ""


def writer_in(folder: Path, ledger: Ledger | None = None, **options: int) -> DisclosureWriter:
    return DisclosureWriter(folder, ledger or Ledger(), **options)


def close(writer: DisclosureWriter) -> None:
    asyncio.run(writer.close())


def octets(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted((folder / FOLDER).iterdir()))


def test_a_value_can_be_disclosed_until_its_salt_is_erased(tmp_path: Path) -> None:
    writer, files = writer_in(tmp_path), DisclosureFiles(tmp_path)
    first, second = writer.commit_to("ana@vendor.example"), writer.commit_to("ana@vendor.example")
    assert first != second
    disclosed = files.disclose(first)
    assert disclosed is not None
    assert verify_disclosure(first, disclosed.value, disclosed.salt) == "ana@vendor.example"
    assert files.erase([first]) == {first}
    assert files.erase([first]) == frozenset()
    assert files.disclose(first) is None
    assert files.disclose(second) is not None
    close(writer)
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / FOLDER).iterdir()}
    assert (modes, (tmp_path / FOLDER).stat().st_mode & 0o777) == ({0o600}, 0o700)


def test_what_is_erased_is_nowhere_in_the_files(tmp_path: Path) -> None:
    writer = writer_in(tmp_path)
    gone, kept = writer.commit_to("0815-4711"), writer.commit_to("kept-value")
    assert b"0815-4711" in octets(tmp_path)
    DisclosureFiles(tmp_path).erase([gone])
    assert b"0815-4711" not in octets(tmp_path)
    assert gone.encode() not in octets(tmp_path)
    assert kept.encode() in octets(tmp_path)
    close(writer)


def test_erasing_and_writing_do_not_disturb_each_other(tmp_path: Path) -> None:
    writer, files = writer_in(tmp_path, file_octets=2000), DisclosureFiles(tmp_path)
    kept = []
    for number in range(50):
        gone = writer.commit_to(f"gone-{number}")
        kept.append(writer.commit_to(f"kept-{number}"))
        assert files.erase([gone]) == {gone}
        kept.append(writer.commit_to(f"also-{number}"))
    assert b"gone" not in octets(tmp_path)
    assert all(files.disclose(commitment) for commitment in kept)
    close(writer)


def test_a_write_that_was_cut_off_hides_nothing_after_it_and_goes_when_something_is_erased(tmp_path: Path) -> None:
    writer, files = writer_in(tmp_path), DisclosureFiles(tmp_path)
    kept = writer.commit_to("x")
    with (tmp_path / FOLDER / "0").open("ab") as torn:
        torn.write(b'{"commitment":"sha256-a","salt":"","value":"half-of-a-va')
    later = writer.commit_to("y")
    assert files.disclose(kept) is not None
    files.erase([later])
    assert b"half-of" not in octets(tmp_path)
    assert files.disclose(kept) is not None
    close(writer)


def test_nothing_was_ever_committed(tmp_path: Path) -> None:
    files = DisclosureFiles(tmp_path)
    assert files.disclose("sha256-x") is None
    assert files.erase(["sha256-x"]) == frozenset()
    close(writer_in(tmp_path))
    assert not (tmp_path / FOLDER).exists()


def test_disclosures_go_when_the_records_they_belong_to_have_gone(tmp_path: Path) -> None:
    ledger, found = Ledger(), []
    writer, files = writer_in(tmp_path, ledger, file_octets=1), DisclosureFiles(tmp_path)
    for ledger.size in (100, 300, 600):
        found.append(writer.commit_to("a"))
    first, second, third = found
    asyncio.run(writer.prune(299))
    assert files.disclose(first) is not None
    asyncio.run(writer.prune(300))
    assert [files.disclose(commitment) is not None for commitment in (first, second, third)] == [False, True, True]
    asyncio.run(writer.prune(600))
    assert files.disclose(second) is None
    assert files.disclose(third) is not None
    close(writer)


def test_what_an_earlier_run_wrote_goes_as_well_though_nothing_is_written_any_more(tmp_path: Path) -> None:
    earlier = writer_in(tmp_path, Ledger(10))
    old = earlier.commit_to("a")
    close(earlier)
    writer, files = writer_in(tmp_path, Ledger(500)), DisclosureFiles(tmp_path)
    asyncio.run(writer.prune(256))
    assert files.disclose(old) is not None
    asyncio.run(writer.prune(512))
    assert files.disclose(old) is None
    close(writer)


def test_records_that_a_power_cut_took_do_not_make_disclosures_go_too_early(tmp_path: Path) -> None:
    earlier = writer_in(tmp_path, Ledger(1000))
    earlier.commit_to("a")
    close(earlier)
    writer = writer_in(tmp_path, Ledger(990))
    late = writer.commit_to("b")
    asyncio.run(writer.prune(1024))
    assert DisclosureFiles(tmp_path).disclose(late) is not None
    close(writer)


@pytest.mark.parametrize("state", [State.PAUSED, State.CLOSED])
def test_nothing_is_kept_while_no_record_can_lead_to_it(tmp_path: Path, state: State) -> None:
    writer = writer_in(tmp_path, Ledger(state=state))
    with pytest.raises(LedgerUnavailableError) as refused:
        writer.commit_to("a")
    assert refused.value.code == f"ledger_{state}"
    close(writer)
    assert not (tmp_path / FOLDER).exists()


def test_without_room_nothing_is_committed_to_until_there_is_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = writer_in(tmp_path)
    with monkeypatch.context() as full:
        full.setattr(ledger_disclosures, "write_all", _raising(OSError(28, "No space left on device")))
        with pytest.raises(LedgerUnavailableError) as paused:
            writer.commit_to("a")
        assert paused.value.code == "ledger_paused"
        assert writer.trouble
    assert DisclosureFiles(tmp_path).disclose(writer.commit_to("a")) is not None
    assert not writer.trouble
    close(writer)


def test_after_a_failed_fsync_nothing_is_committed_to_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = writer_in(tmp_path)
    with monkeypatch.context() as failing:
        failing.setattr(os, "fsync", _raising(OSError(5, "Input/output error")))
        writer.commit_to("a")
        close(writer)
    with pytest.raises(LedgerUnavailableError) as closed:
        writer.commit_to("b")
    assert closed.value.code == "ledger_closed"


def test_whoever_commits_never_waits_for_a_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced, fsync = set(), os.fsync

    def noted(descriptor: int) -> None:
        synced.add(threading.get_ident())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    writer = writer_in(tmp_path, file_octets=1)
    for _ in range(5):
        writer.commit_to("a")
    close(writer)
    assert synced
    assert threading.get_ident() not in synced


def test_a_start_after_a_crash_gives_concealed_intents_their_outcome() -> None:
    things = OpenThings()
    concealed = "sha256-" + "x" * 43
    intent = operation_records.concealed_intent(
        1.0, session="s", decision=0, service="write-single-register", concealed=concealed
    )
    things.follow([intent])
    assert list(things.intents) == [0]
    things.follow([operation_records.concealed_outcome(1.0, intent=0, result="done", code="", concealed=concealed)])
    assert not things.intents


def _raising(error: OSError) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise error

    return fail
