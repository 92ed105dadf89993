"""Offline verification: what holds is confirmed, every changed octet and every broken rule is found and named."""

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from broker.errors import IntegrityError
from broker.ledger import operation_records, records
from broker.ledger.checkpoint import Checkpoint, sign_checkpoint, split_checkpoints
from broker.ledger.merkle import EMPTY_ROOT
from broker.ledger.notes import COSIGNATURE, cosign, verifier_of
from broker.ledger.verify import Report, verify_ledger
from broker.model.vocabulary import RecordKind
from tests.unit.ledger.scenes import KEY, OPEN_WINDOW, ORIGIN, START, MemoryReader, Story, publish, whole_story

VKEY = verifier_of(ORIGIN, KEY).vkey


def verify(files: dict[str, bytes], **options: object) -> Report:
    return verify_ledger(MemoryReader(files), VKEY, **options)  # type: ignore[arg-type]


def test_a_whole_history_verifies() -> None:
    story = whole_story()
    report = verify(publish(story.entries, sizes=(3, 5)))
    assert (report.ok, report.reason, report.size, report.checkpoints) == (True, "", len(story.entries), 3)
    assert report.unwitnessed and report.counts["intent"] == 2 and report.open_intents == 0


def test_a_history_over_many_tiles_verifies() -> None:
    story = whole_story(400)
    files = publish(story.entries)
    assert "tile/0/002" in files and "tile/1/000.p/3" in files
    report = verify(files)
    assert report.ok and report.size == len(story.entries)


def test_a_session_that_was_paused_resumed_and_cut_verifies() -> None:
    story = Story().started()
    story.opened()
    decision = story.decision()
    under_way = story.intent(decision)
    story.act(RecordKind.SESSION_PAUSED)
    story.outcome(under_way)
    story.outcome(story.intent(story.decision(allow=False)), "denied")
    story.act(RecordKind.SESSION_RESUMED)
    story.outcome(story.intent(decision))
    story.act(RecordKind.SESSION_CUT)
    story.closed()
    assert verify(publish(story.stopped().entries)).ok


def test_an_empty_ledger_verifies() -> None:
    note = sign_checkpoint(Checkpoint(ORIGIN, 0, EMPTY_ROOT), KEY)
    assert verify({"checkpoint": note.encode()}).ok


def test_every_changed_octet_is_found_and_names_a_record_not_after_it() -> None:
    story = whole_story(2)
    files = publish(story.entries, sizes=(3,))
    bundle = f"tile/entries/000.p/{len(story.entries)}"
    at = 0
    for index, entry in enumerate(story.entries):
        for offset in range(len(entry) + 2):
            changed = bytearray(files[bundle])
            changed[at + offset] ^= 0x01
            report = verify({**files, bundle: bytes(changed)})
            assert not report.ok and report.first_bad == index, (index, offset, report)
        at += len(entry) + 2


@pytest.mark.parametrize("path", ["checkpoint", "checkpoints", "tile"])
def test_every_changed_octet_of_the_other_files_is_found(path: str) -> None:
    files = publish(whole_story(2).entries, sizes=(3,))
    path = next(name for name in files if name.startswith(path) and "entries" not in name)
    for at in range(len(files[path])):
        changed = bytearray(files[path])
        changed[at] ^= 0x01
        assert not verify({**files, path: bytes(changed)}).ok, at


def test_changed_octets_of_upper_tiles_are_found() -> None:
    files = publish(whole_story(200).entries)
    changed = bytearray(files["tile/1/000.p/1"])
    changed[5] ^= 1
    report = verify({**files, "tile/1/000.p/1": bytes(changed)})
    assert not report.ok and report.first_bad == 0 and report.reason == "tile_altered"


def test_every_missing_file_is_found() -> None:
    files = publish(whole_story(400).entries)
    for path in files:
        report = verify({name: content for name, content in files.items() if name != path})
        assert not report.ok, path


def test_records_and_tiles_rewritten_together_name_the_first_after_the_last_good_checkpoint() -> None:
    story = whole_story(3)
    files = publish(story.entries, sizes=(4, 6, 8))
    forged = list(story.entries)
    forged[7] = operation_records.outcome(story.time, intent=6, result="unknown")
    rewritten = {k: v for k, v in publish(forged).items() if k.startswith("tile")}
    report = verify({**files, **rewritten})
    assert not report.ok and report.first_bad == 6 and report.reason == "root_mismatch"


def test_a_history_rewritten_and_signed_again_is_caught_by_a_saved_checkpoint() -> None:
    story = whole_story(3)
    saved = publish(story.entries[:6])["checkpoint"].decode()
    assert verify(publish(story.entries), saved_checkpoint=saved).saved_size == 6
    forged = list(story.entries)
    forged[4] = operation_records.intent(
        START + 0.25, session="s1", decision=3, service="write-single-register", digest="f" * 43
    )
    files = publish(forged)
    assert verify(files).ok
    report = verify(files, saved_checkpoint=saved)
    assert (report.ok, report.reason, report.first_bad) == (False, "history_rewritten", 0)


def test_a_history_cut_short_is_caught_by_a_saved_checkpoint() -> None:
    story = whole_story(3)
    saved = publish(story.entries)["checkpoint"].decode()
    report = verify(publish(story.entries[:6]), saved_checkpoint=saved)
    assert (report.ok, report.reason) == (False, "history_cut")


def test_another_key_verifies_nothing() -> None:
    other = verifier_of(ORIGIN, Ed25519PrivateKey.generate()).vkey
    report = verify_ledger(MemoryReader(publish(whole_story().entries)), other)
    assert (report.ok, report.reason) == (False, "signed_by_others")
    assert report.detail.startswith(f"signed by {ORIGIN}, not by {ORIGIN}+")
    assert verify_ledger(MemoryReader({}), "nonsense").reason == "key_malformed"


def test_a_witness_is_named_and_a_forged_cosignature_spoils_the_checkpoint() -> None:
    witness_key = Ed25519PrivateKey.generate()
    witness = verifier_of("witness.example/w", witness_key, COSIGNATURE)
    files = publish(whole_story().entries)
    note = files["checkpoint"].decode()
    text = note[: note.rfind("\n\n") + 1]
    files["checkpoint"] = (note + cosign(text, witness.name, witness_key, 5)).encode()
    report = verify(files, witnesses=[witness.vkey])
    assert report.ok and report.witnesses == ("witness.example/w",) and not report.unwitnessed
    files["checkpoint"] = (note + cosign(text + "x", witness.name, witness_key, 5)).encode()
    assert verify(files, witnesses=[witness.vkey]).reason == "signature_wrong"


def test_a_checkpoint_left_out_of_the_chain_is_found() -> None:
    story = whole_story(400)
    files = publish(story.entries)
    notes = files["checkpoints"].decode().split("\n\n\u2014")
    chain = files["checkpoints"]
    first_end = chain.find(b"\n\n", chain.find(b"\n\n") + 2) + 2
    report = verify({**files, "checkpoints": chain[first_end:]})
    assert len(notes) == 5 and (report.ok, report.reason) == (False, "chain_incomplete")
    report = verify({**files, "checkpoints": chain + chain[:first_end]})
    assert report.ok, "what follows the published checkpoint is not published yet"
    report = verify({**files, "checkpoints": chain[first_end:] + chain[:first_end]})
    assert not report.ok


def notes_of(files: dict[str, bytes]) -> list[bytes]:
    return [note.encode() + b"\n" for note in split_checkpoints(files["checkpoints"].decode())]


def test_a_checkpoint_at_the_end_of_a_bundle_cannot_be_left_out_however_close_the_others_are() -> None:
    files = publish(whole_story(400).entries, sizes=(100, 200, 300, 400, 500, 600))
    notes = notes_of(files)
    sizes = [int(note.split(b"\n")[1]) for note in notes]
    for at, size in enumerate(sizes):
        report = verify({**files, "checkpoints": b"".join(notes[:at] + notes[at + 1 :])})
        assert report.ok is (size % 256 != 0 and size != sizes[-1]), (size, report)
        assert report.ok or report.reason == "chain_incomplete"


def test_a_pruned_ledger_keeps_its_whole_chain() -> None:
    story = whole_story(400)
    story.entries.append(records.evidence_pruned(story.time, minimum=512))
    files = {**publish(story.entries), "minimum": b"512\n"}
    assert verify(files).ok
    assert verify({**files, "checkpoints": b"".join(notes_of(files)[2:])}).reason == "chain_incomplete"


def test_checkpoints_taken_out_show_as_records_that_waited_too_long_for_one() -> None:
    story = whole_story(40)
    files = publish(story.entries, sizes=range(4, len(story.entries), 4))
    report = verify(files)
    assert (report.ok, report.late_checkpoints) == (True, 0) and report.longest_stretch < 1
    notes = notes_of(files)
    report = verify({**files, "checkpoints": b"".join(notes[:5] + notes[15:])})
    assert (report.ok, report.late_checkpoints) == (True, 1) and report.longest_stretch > 4


def test_the_time_between_two_runs_or_of_a_clock_step_is_no_late_checkpoint() -> None:
    story = whole_story()
    story.time += 3600
    story.started()
    story.time += 3600
    story.add(records.clock_stepped(story.time, step_seconds=3600))
    assert (report := verify(publish(story.entries))).ok and report.late_checkpoints == 0
    story.time += 5
    story.stopped()
    assert verify(publish(story.entries)).late_checkpoints == 1


def test_a_head_put_back_to_an_older_checkpoint_is_found() -> None:
    files = publish(whole_story(40).entries, sizes=range(4, 80, 4))
    notes = notes_of(files)
    for at in range(len(notes) - 3):
        report = verify({**files, "checkpoint": notes[at].rstrip(b"\n") + b"\n"})
        assert (report.ok, report.reason) == (False, "head_behind_chain"), at


@pytest.mark.parametrize("behind", [1, 2])
def test_a_head_that_the_writer_has_not_moved_yet_is_no_fault_and_the_whole_chain_is_verified(behind: int) -> None:
    story = whole_story(40)
    files = publish(story.entries, sizes=range(4, 80, 4))
    head = notes_of(files)[-1 - behind].rstrip(b"\n") + b"\n"
    report = verify({**files, "checkpoint": head})
    assert (report.ok, report.head_behind, report.size) == (True, behind, len(story.entries)), report
    bundle = f"tile/entries/000.p/{len(story.entries)}"
    damaged = {**files, bundle: files[bundle][:-3] + b"???", "checkpoint": head}
    assert verify(damaged).first_bad == len(story.entries) - 1


def test_a_pass_of_full_bundles_may_be_in_the_chain_before_the_head_follows() -> None:
    files = publish(whole_story(600).entries)
    report = verify({**files, "checkpoint": notes_of(files)[0].rstrip(b"\n") + b"\n"})
    assert report.ok and report.head_behind == 4 and report.checkpoints == 5


def test_a_writer_that_goes_on_while_the_chain_is_read_is_no_fault() -> None:
    story = whole_story(40)
    later = publish(story.entries, sizes=range(4, 80, 4))

    class Growing(MemoryReader):
        def read(self, path: str, offset: int = 0, length: int = 1 << 30) -> bytes | None:
            content = super().read(path, offset, length)
            if path == "checkpoint":
                self.files = later
            return content

    report = verify_ledger(Growing({**later, "checkpoint": notes_of(later)[0].rstrip(b"\n") + b"\n"}), VKEY)
    assert report.ok and report.size == len(story.entries) and report.head_behind == 0


def test_every_saved_checkpoint_of_several_is_compared() -> None:
    story = whole_story(3)
    files = publish(story.entries, sizes=(2, 4, 6))
    saved = files["checkpoints"].decode()
    report = verify(files, saved_checkpoint=saved)
    assert (report.ok, report.saved_checkpoints, report.saved_size) == (True, 4, len(story.entries))
    forged = list(story.entries)
    forged[4] = operation_records.intent(
        START + 0.25, session="s1", decision=3, service="write-single-register", digest="f" * 43
    )
    other = notes_of(publish(forged, sizes=(2, 4, 6)))
    assert verify(files, saved_checkpoint=saved + other[1].decode()).ok, "up to there both histories are the same"
    report = verify(files, saved_checkpoint=saved + other[2].decode())
    assert (report.ok, report.reason) == (False, "history_rewritten")


def test_a_saved_checkpoint_that_cannot_be_read_or_is_of_another_key_is_told_apart() -> None:
    files = publish(whole_story(3).entries)
    for text in ("", "nonsense", files["checkpoint"].decode() + "\nnonsense", "a\n1\nb\n\n\u2014 a AAAAAAAA\n"):
        with pytest.raises(IntegrityError):
            split_checkpoints(text)
    foreign = publish(whole_story(3).entries, key=Ed25519PrivateKey.generate())["checkpoint"].decode()
    report = verify(files, saved_checkpoint=foreign)
    assert (report.ok, report.reason) == (False, "saved_checkpoint_refused") and "signed_by_others" in report.detail


def test_an_unfinished_note_at_the_chains_end_is_not_part_of_it() -> None:
    files = publish(whole_story(5).entries)
    chain = files["checkpoints"]
    for cut in range(1, len(chain), 7):
        assert verify({**files, "checkpoints": chain + chain[:cut]}).ok


def test_pruned_records_are_taken_from_their_hashes_if_the_pruning_is_recorded() -> None:
    story = whole_story(400)
    story.entries.append(records.evidence_pruned(story.time, minimum=512))
    files = publish(story.entries)
    del files["tile/entries/000"], files["tile/entries/001"]
    report = verify({**files, "minimum": b"512\n"})
    assert (report.ok, report.minimum) == (True, 512), report
    assert verify(files).reason == "bundle_missing"
    assert verify({**files, "minimum": b"256\n"}).reason == "bundle_missing"
    assert verify({**files, "minimum": b"768\n"}).reason in ("pruning_not_recorded", "bundle_missing")
    assert verify({**files, "minimum": b"300\n"}).reason == "minimum_malformed"


def test_a_declared_minimum_without_its_record_is_refused() -> None:
    files = publish(whole_story(400).entries)
    assert verify({**files, "minimum": b"512\n"}).reason == "pruning_not_recorded"


def test_a_running_ledger_may_have_an_intent_in_flight_but_not_forever() -> None:
    story = Story().started()
    story.opened()
    story.intent(story.decision())
    assert verify(publish(story.entries)).open_intents == 1
    story.time += 700
    story.decision()
    assert verify(publish(story.entries)).reason == "intent_without_outcome"


def _outcome_twice(story: Story) -> None:
    story.opened()
    intent = story.intent(story.decision())
    story.outcome(intent)
    story.outcome(intent)


def _outcome_first(story: Story) -> None:
    story.outcome(99)


def _intent_after_close(story: Story) -> None:
    story.opened()
    decision = story.decision()
    story.closed()
    story.intent(decision)


def _intent_before_open(story: Story) -> None:
    story.intent(story.decision())


def _intent_without_decision(story: Story) -> None:
    story.intent(story.opened())


def _decision_of_another_session(story: Story) -> None:
    story.opened("s1")
    story.opened("s2")
    story.intent(story.decision("s2"), "s1")


def _session_decision_for_an_operation(story: Story) -> None:
    story.opened()
    story.intent(1)


def _denied_but_done(story: Story) -> None:
    story.opened()
    story.outcome(story.intent(story.decision(allow=False)))


def _session_without_allow(story: Story) -> None:
    story.opened(decision=story.decision(allow=False, entry_point="session.decision"))


def _session_twice(story: Story) -> None:
    story.opened()
    story.opened()


def _session_opened_again(story: Story) -> None:
    story.opened()
    story.closed()
    story.opened()


def _closed_without_open(story: Story) -> None:
    story.closed()


def _allow_without_window(story: Story) -> None:
    story.decision(question={**OPEN_WINDOW, "windows": {"open": [], "next": None}})


def _window_not_open(story: Story) -> None:
    story.decision(question={**OPEN_WINDOW, "now": int(START) + 3600})


def _late_lease(story: Story) -> None:
    story.opened()
    decision = story.decision(valid_until=int(START) + 10)
    story.time += 20
    story.outcome(story.intent(decision))


def _relayed_while_paused(story: Story) -> None:
    story.opened()
    decision = story.decision()
    story.act(RecordKind.SESSION_PAUSED)
    story.outcome(story.intent(decision))


def _paused_after_close(story: Story) -> None:
    story.opened()
    story.closed()
    story.act(RecordKind.SESSION_PAUSED)


def _logged_out_out_of_the_blue(story: Story) -> None:
    story.opened()
    story.closed(reason="logged_out")


def _cut_after_close(story: Story) -> None:
    story.opened()
    story.closed()
    story.act(RecordKind.SESSION_CUT)


def _time_back(story: Story) -> None:
    story.time -= 10
    story.opened()


def _stopped_with_session(story: Story) -> None:
    story.opened()
    story.stopped()


def _stopped_with_intent(story: Story) -> None:
    story.opened()
    story.intent(story.decision())
    story.closed()
    story.stopped()


def _started_with_session(story: Story) -> None:
    story.opened()
    story.started()


def _session_while_stopped(story: Story) -> None:
    story.stopped()
    story.opened()


def _not_canonical(story: Story) -> None:
    story.add(b'{"kind": "broker_stopped","reason":"","time":"2026-09-21T14:13:20.000000Z"}')


def _duplicate_key(story: Story) -> None:
    story.add(b'{"kind":"broker_stopped","kind":"broker_stopped","reason":"","time":"2026-09-21T14:13:20.000000Z"}')


def _float(story: Story) -> None:
    story.add(b'{"kind":"broker_stopped","reason":1.5,"time":"2026-09-21T14:13:20.000000Z"}')


def _unknown_kind(story: Story) -> None:
    story.add(b'{"kind":"surprise","time":"2026-09-21T14:13:20.000000Z"}')


def _bad_time(story: Story) -> None:
    story.add(b'{"kind":"broker_stopped","reason":"","time":"2026-09-21T14:13:20.0000001"}')


def _missing_field(story: Story) -> None:
    story.add(b'{"kind":"outcome","time":"2026-09-21T14:13:20.000000Z"}')


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_outcome_twice, "outcome_without_intent"),
        (_outcome_first, "outcome_without_intent"),
        (_intent_after_close, "intent_outside_session"),
        (_intent_before_open, "intent_outside_session"),
        (_intent_without_decision, "decision_missing"),
        (_decision_of_another_session, "decision_of_another_session"),
        (_session_decision_for_an_operation, "decision_of_another_kind"),
        (_denied_but_done, "denied_but_not_refused"),
        (_session_without_allow, "session_not_allowed"),
        (_session_twice, "session_opened_twice"),
        (_session_opened_again, "session_opened_twice"),
        (_closed_without_open, "session_not_open"),
        (_allow_without_window, "allow_without_window_or_grant"),
        (_window_not_open, "window_not_open"),
        (_late_lease, "lease_had_ended"),
        (_relayed_while_paused, "relayed_while_paused"),
        (_paused_after_close, "session_not_open"),
        (_logged_out_out_of_the_blue, "logout_not_recorded"),
        (_cut_after_close, "session_not_open"),
        (_time_back, "time_went_back"),
        (_stopped_with_session, "session_left_open"),
        (_stopped_with_intent, "intent_without_outcome"),
        (_started_with_session, "session_left_open"),
        (_session_while_stopped, "broker_not_running"),
        (_not_canonical, "record_not_canonical"),
        (_duplicate_key, "record_not_canonical"),
        (_float, "record_not_canonical"),
        (_unknown_kind, "kind_unknown"),
        (_bad_time, "time_malformed"),
        (_missing_field, "record_malformed"),
    ],
)
def test_every_broken_rule_is_found_at_its_record(spoil: Callable[[Story], None], reason: str) -> None:
    story = Story().started()
    spoil(story)
    report = verify(publish(story.entries))
    assert not report.ok and report.reason == reason
    bad = len(story.entries) - (2 if reason == "time_went_back" else 1)
    assert report.first_bad == bad


def test_a_standing_grant_allows_without_a_window() -> None:
    story = Story().started()
    story.decision(question={"windows": {"open": [], "next": None}, "grants": [{"id": "g"}], "now": int(START)})
    assert verify(publish(story.entries)).ok


def test_time_may_go_back_where_a_step_is_recorded_and_slip_a_little() -> None:
    story = Story().started()
    story.time -= 100
    story.add(records.clock_stepped(story.time, step_seconds=-100))
    story.opened()
    story.time -= 1
    story.operation()
    assert verify(publish(story.entries)).ok


def test_a_denied_operation_and_a_late_one_that_was_not_sent_are_in_order() -> None:
    story = Story().started()
    story.opened()
    story.outcome(story.intent(story.decision(allow=False)), "denied")
    decision = story.decision(valid_until=int(START) + 1)
    story.time += 30
    story.outcome(story.intent(decision), "not_sent")
    assert verify(publish(story.entries)).ok


def test_outcomes_may_follow_the_end_of_their_session() -> None:
    story = Story().started()
    story.opened()
    intent = story.intent(story.decision())
    story.closed()
    story.outcome(intent)
    assert verify(publish(story.entries)).ok
