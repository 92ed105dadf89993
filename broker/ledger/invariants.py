"""What must hold between records, checked in their order: time, sessions, decisions, intents and outcomes.

- time does not go back, but at a `clock_stepped` record (a clock being disciplined may slip by less than two seconds);
- a session is opened by an allowing decision of its own, once, while the broker runs, and closed once;
- every allow of an operation or session has an open window or a standing grant in its input, the window open at its
  `now`;
- what the grant of a request allowed, it allowed while that grant was in force on this broker;
- every intent lies inside its session and cites a decision on an operation of that session;
- in a session of the broker's own, to undo what somebody left, nothing but that is done: outside freezes, a place is
  looked at, exactly the value before is put back, exactly one priority released, or a COV subscription cancelled;
- what a leave says it has undone by writing has the outcome `done` of such a write;
- COV notifications are counted in an open session, under a decision of it that allows an operation;
- a session is paused, resumed and cut while it is open, and nothing that is intended while it is paused is relayed;
- what waited for a person is relayed only if it was asked, armed by the right person and used up for it, once;
- every intent has exactly one outcome, after it; a denied one only `denied`; one whose lease had ended is not relayed;
- of a request of several operations that is relayed the intents stand in a row, and `unattempted` is only what comes
  behind one that the device refused, or of which nobody knows;
- no lock is lifted but by a lift that the broker that signed it has recorded, an isolation by nobody who set it;
- no session ends because its subject logged out before an issuer has told of a logout;
- a session of an emergency is decided by the fixed policy, is opened and relays between `break_glass_opened` and the
  emergency's end, and no other session is decided by it;
- a proposal that ended as approved was approved by two people or more, and never for anything but what was proposed;
- where policies wait for people, none comes into force but by the warrant of such a proposal, for just that revision;
- what an authority that asks two people tells it has done, it was given the warrant of such a proposal for;
- when the broker starts or stops, no session is open and no intent without outcome.

Records below the minimum index of a pruned ledger are not there to be cited: what refers to them is taken as it stands.
"""

from collections.abc import Callable
from datetime import datetime

import orjson

from broker.ledger.armings import Armings
from broker.ledger.canonical import canonical
from broker.ledger.emergency_rules import Emergencies
from broker.ledger.giving import Giving
from broker.ledger.lock_rules import Locks
from broker.ledger.operation_rules import (
    Decided,
    Intended,
    Record,
    broken,
    owed_place,
    require_access,
    require_undo,
)
from broker.ledger.place_rules import Places
from broker.ledger.proposal_rules import Proposals
from broker.model.decision import EntryPoint
from broker.model.leave import Undone
from broker.model.vocabulary import EndReason, RecordKind, Result

SLIP_SECONDS = 2.0
# The broker was not there, or its clock jumped: what lies before and after is not one stretch of records.
_INTERRUPTIONS = frozenset({RecordKind.BROKER_STARTED, RecordKind.TAIL_HEALED, RecordKind.CLOCK_STEPPED})
LEASE_GRACE_SECONDS = 1.0
_IN_SESSIONS = frozenset(
    {EntryPoint.OPERATION.value, EntryPoint.SESSION.value, EntryPoint.LEAVE.value, EntryPoint.EMERGENCY.value}
)
LONGEST_OPERATION_SECONDS = 600.0
RELAYED_NOTHING = frozenset({Result.DENIED.value, Result.NOT_SENT.value})


class Invariants:
    """The state of the broker as the records tell it; feed it every record from `minimum` on, in order."""

    def __init__(self, minimum: int = 0, origin: str = "") -> None:
        self.counts: dict[str, int] = {}
        self.pruned_to = 0
        self._minimum = minimum
        self._index = minimum
        self._running = False
        self._known_start = minimum == 0
        self._time: float | None = None
        self._stamp = ""
        self._stretch_from: float | None = None
        self._stretch_seconds = 0.0
        self._decisions: dict[int, Decided] = {}
        self._cited_by: dict[str, list[int]] = {}
        self._sessions: set[str] = set()
        self._closed: set[str] = set()
        self._paused: set[str] = set()
        self._logout_told_once = False
        self._errands: dict[str, str] = {}
        self._leaves: dict[str, set[str]] = {}
        self._intents: dict[int, Intended] = {}
        self._used_invitations: set[str] = set()
        self._armings = Armings()
        self._emergencies = Emergencies()
        self._giving = Giving()
        self._proposals = Proposals(origin, may_predate=minimum > 0)
        self._locks = Locks(origin, minimum)
        self._places = Places(minimum)
        self._rules: dict[str, Callable[[Record], None]] = {
            RecordKind.BROKER_STARTED.value: self._broker_started,
            RecordKind.BROKER_STOPPED.value: self._broker_stopped,
            RecordKind.LOCK_SET.value: self._locks.set,
            RecordKind.LIFT_SIGNED.value: lambda record: self._locks.signed(record, self._index),
            RecordKind.LOCK_LIFTED.value: self._locks.lifted,
            RecordKind.LOGGED_OUT.value: self._logout_told,
            RecordKind.GRANT_GIVEN.value: self._giving.given,
            RecordKind.GRANT_WITHDRAWN.value: lambda record: self._giving.withdrawn(record, self._time or 0.0),
            RecordKind.SESSION_OPENED.value: self._session_opened,
            RecordKind.SESSION_CLOSED.value: self._session_closed,
            RecordKind.SESSION_PAUSED.value: self._session_paused,
            RecordKind.SESSION_RESUMED.value: self._session_resumed,
            RecordKind.SESSION_CUT.value: self._require_open,
            RecordKind.APPROVAL_ASKED.value: self._armings.asked,
            RecordKind.OPERATION_ARMED.value: lambda r: self._armings.armed(r, _read_stamp(r["until"])),
            RecordKind.ARMING_USED.value: self._arming_used,
            RecordKind.APPROVAL_ENDED.value: self._armings.ended,
            RecordKind.DECISION.value: self._decision,
            RecordKind.COV_COUNTED.value: self._cov_counted,
            RecordKind.INTENT.value: self._intent,
            RecordKind.OUTCOME.value: self._outcome,
            RecordKind.PERSON_ENROLLED.value: self._person_enrolled,
            RecordKind.LEAVE_FINISHED.value: self._leave_finished,
            RecordKind.LEAVE_UNSETTLED.value: self._leave_finished,
            RecordKind.BREAK_GLASS_OPENED.value: self._break_glass_opened,
            RecordKind.BREAK_GLASS_ENDED.value: lambda record: self._emergencies.ended(record["emergency"]),
            RecordKind.EVIDENCE_PRUNED.value: self._evidence_pruned,
            RecordKind.PROPOSAL_CREATED.value: self._proposals.created,
            RecordKind.PROPOSAL_APPROVED.value: self._proposals.approved,
            RecordKind.PROPOSAL_ENDED.value: self._proposals.ended,
            RecordKind.POLICY_PROPOSED.value: self._proposals.policy_waits,
            RecordKind.POLICY_CHANGED.value: self._proposals.policy_changed,
            RecordKind.HOST_COMMAND.value: self._proposals.host_command,
        }
        self._kinds = frozenset(kind.value for kind in RecordKind)

    def check(self, index: int, entry: bytes) -> None:
        """Take the next record. Raises IntegrityError, whose code names the rule that it breaks."""
        record = _read(entry)
        kind = record["kind"]
        if kind not in self._kinds:
            raise broken("kind_unknown", str(kind))
        self._index = index
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if kind in _INTERRUPTIONS:
            self._measure_stretch()
        self._check_time(record["time"], kind)
        if self._stretch_from is None:
            self._stretch_from = self._time
        rule = self._rules.get(kind)
        if rule is not None:
            try:
                rule(record)
            except (KeyError, TypeError, AttributeError) as error:
                raise broken("record_malformed", f"{kind}: {error!r}") from None

    def finish(self) -> None:
        """Nothing may be left open for longer than a device could take. Raises IntegrityError."""
        for index, intent in self._intents.items():
            if self._time is not None and self._time - intent.time > LONGEST_OPERATION_SECONDS:
                raise broken("intent_without_outcome", f"record {index}")
        if self._minimum > self.pruned_to:
            raise broken("pruning_not_recorded", f"minimum index {self._minimum}, recorded {self.pruned_to}")

    def end_stretch(self) -> float:
        """Over how many seconds the records since the last call go, what lay between two runs left out."""
        self._measure_stretch()
        seconds, self._stretch_seconds = self._stretch_seconds, 0.0
        return seconds

    def _measure_stretch(self) -> None:
        if self._stretch_from is not None and self._time is not None:
            self._stretch_seconds = max(self._stretch_seconds, self._time - self._stretch_from)
        self._stretch_from = None

    @property
    def left_open(self) -> int:
        """Intents that wait for their outcome at the end."""
        return len(self._intents)

    def _check_time(self, stamp: object, kind: str) -> None:
        time = self._time
        if stamp != self._stamp:
            time, self._stamp = _read_stamp(stamp), str(stamp)
        if self._time is not None and time is not None and kind != RecordKind.CLOCK_STEPPED.value:
            if time < self._time - SLIP_SECONDS:
                raise broken("time_went_back", str(stamp))
            time = max(time, self._time)
        self._time = time

    def _broker_started(self, record: Record) -> None:
        self._require_quiet("start")
        self._running = self._known_start = True
        self._closed.clear()
        self._armings.began()
        self._giving.began()
        self._proposals.began()
        self._leaves.clear()

    def _broker_stopped(self, record: Record) -> None:
        self._require_quiet("stop")
        self._running = False

    def _require_quiet(self, moment: str) -> None:
        if self._sessions:
            raise broken("session_left_open", f"{next(iter(self._sessions))} at the {moment} of the broker")
        if self._intents:
            raise broken("intent_without_outcome", f"record {next(iter(self._intents))} at the {moment} of the broker")

    def _session_opened(self, record: Record) -> None:
        session = record["session"]
        if not self._running and self._known_start:
            raise broken("broker_not_running", f"session {session}")
        if session in self._sessions or session in self._closed:
            raise broken("session_opened_twice", session)
        decision = self._cited(record["decision"], session)
        if decision is not None and not (decision.allow and decision.opens):
            raise broken("session_not_allowed", session)
        time, emergency = self._time or 0.0, record.get("emergency", "")
        if not self._emergencies.entered(session, emergency, time, may_predate=not self._known_start):
            raise broken("session_outside_emergency", session)
        if decision is not None and self._emergencies.decided_wrongly(session, decision.fixed):
            raise broken("decided_by_wrong_policy", session)
        self._sessions.add(session)
        if decision is not None and decision.leave:
            self._errands[session] = decision.leave
            self._leaves.setdefault(decision.leave, set())

    def _logout_told(self, record: Record) -> None:
        self._logout_told_once = bool(record["logout"])

    def _session_closed(self, record: Record) -> None:
        session = record["session"]
        self._require_open(record)
        if record["reason"] == EndReason.LOGGED_OUT.value and self._known_start and not self._logout_told_once:
            raise broken("logout_not_recorded", session)
        self._sessions.discard(session)
        self._paused.discard(session)
        leave = self._errands.pop(session, "")
        if self._known_start and not self._leaves.get(leave, True):
            del self._leaves[leave]  # nothing was written in it, and nobody has to tell of that
        self._emergencies.left(session)
        self._closed.add(session)
        for index in self._cited_by.pop(session, ()):
            del self._decisions[index]

    def _session_paused(self, record: Record) -> None:
        self._require_open(record)
        self._paused.add(record["session"])

    def _session_resumed(self, record: Record) -> None:
        self._require_open(record)
        self._paused.discard(record["session"])

    def _require_open(self, record: Record) -> None:
        session = record["session"]
        if session not in self._sessions and not self._may_predate(session):
            raise broken("session_not_open", session)

    def _decision(self, record: Record) -> None:
        decision = Decided(record)
        if decision.entry_point not in _IN_SESSIONS:
            return
        if decision.allow:
            if decision.leave:
                require_undo(record["input"])
            else:
                require_access(record["input"])
                if self._known_start:
                    self._giving.require(record["input"], record["answer"]["rule"])
                decision.reliance = self._armings.shown(record["input"], record["answer"]["obligations"])
        self._decisions[self._index] = decision
        self._cited_by.setdefault(decision.session, []).append(self._index)

    def _arming_used(self, record: Record) -> None:
        relied = [self._cited(index, record["session"]) for index in record["decisions"]]
        known = [decision.reliance for decision in relied if decision is not None]
        if None in known or not relied:
            raise broken("decision_relies_on_nobody", record["approval"])
        self._armings.used(record, self._time or 0.0, [reliance for reliance in known if reliance is not None])

    def _intent(self, record: Record) -> None:
        session = record["session"]
        if session not in self._sessions and not self._may_predate(session):
            raise broken("intent_outside_session", session)
        decision, paused, time = self._cited(record["decision"], session), session in self._paused, self._time or 0.0
        over, astray = self._emergencies.over(session, time), not self._places.intended(self._index, record)
        if decision is None:
            self._intents[self._index] = Intended(session, time, False, False, paused, over=over, astray=astray)
            return
        if decision.opens or bool(decision.leave) != (session in self._errands):
            raise broken("decision_of_another_kind", f"record {record['decision']}")
        if self._emergencies.decided_wrongly(session, decision.fixed):
            raise broken("decided_by_wrong_policy", f"record {record['decision']}")
        end = decision.valid_until
        late = decision.allow and end is not None and time > end + LEASE_GRACE_SECONDS
        alone = decision.reliance is not None and not decision.reliance.take(record)
        denied, leave, undoes = not decision.allow, decision.leave, decision.undoes
        self._intents[self._index] = Intended(session, time, denied, late, paused, alone, leave, undoes, over, astray)

    def _outcome(self, record: Record) -> None:
        number, result = record["intent"], record["result"]
        intent = self._intents.pop(number, None)
        if intent is None:
            if not 0 <= number < self._minimum:
                raise broken("outcome_without_intent", f"record {number}")
            return
        if intent.denied and result != Result.DENIED.value:
            raise broken("denied_but_not_refused", f"record {number}: {result}")
        if intent.late and result not in RELAYED_NOTHING:
            raise broken("lease_had_ended", f"record {number}: {result}")
        if intent.paused and result not in RELAYED_NOTHING:
            raise broken("relayed_while_paused", f"record {number}: {result}")
        if intent.alone and result not in RELAYED_NOTHING:
            raise broken("relayed_without_the_person", f"record {number}: {result}")
        if intent.over and result not in RELAYED_NOTHING:
            raise broken("relayed_after_emergency", f"record {number}: {result}")
        if intent.astray and result not in RELAYED_NOTHING:
            raise broken("operation_out_of_place", f"record {number}: {result}")
        self._places.came_out(number, result)
        if intent.undoes and result == Result.DONE.value:
            self._leaves.setdefault(intent.leave, set()).add(intent.undoes)

    def _cov_counted(self, record: Record) -> None:
        self._require_open(record)
        index, passed, withheld = record.get("decision"), record["passed"], record["withheld"]
        decision = None if index is None and not passed else self._cited(index, record["session"])
        if type(passed) is not int or type(withheld) is not int or passed < 0 or withheld < 0:
            raise broken("count_malformed", f"{passed}, {withheld}")
        if passed and decision is not None and (decision.opens or decision.leave or not decision.allow):
            raise broken("passed_on_without_decision", f"record {index}")
        if not _read_stamp(record["from"]) <= _read_stamp(record["until"]) <= (self._time or 0.0) + SLIP_SECONDS:
            raise broken("counted_outside_its_time", str(record["until"]))

    def _break_glass_opened(self, record: Record) -> None:
        emergency = record["emergency"]["id"]
        if not self._emergencies.opened(emergency, _read_stamp(record["emergency"]["until"])):
            raise broken("emergency_opened_again", emergency)

    def _leave_finished(self, record: Record) -> None:
        if record.get("session"):
            self._require_open(record)
        done = self._leaves.pop(record["leave"], None)
        if done is None and not self._known_start:
            return
        for point in record["points"]:
            if point["result"] == Undone.UNDONE.value and not point["detail"] and owed_place(point) not in (done or ()):
                raise broken("undone_without_outcome", f"{record['leave']}: {point['point']}")

    def _person_enrolled(self, record: Record) -> None:
        invitation = record["invitation"]
        if invitation in self._used_invitations:
            raise broken("invitation_used_twice", invitation)
        self._used_invitations.add(invitation)

    def _evidence_pruned(self, record: Record) -> None:
        self.pruned_to = max(self.pruned_to, record["minimum"])

    def _cited(self, index: object, session: str) -> Decided | None:
        """The decision at that index; None if it has been pruned."""
        if type(index) is not int or not 0 <= index < self._index:
            raise broken("decision_missing", str(index))
        decision = self._decisions.get(index)
        if decision is None and index >= self._minimum:
            raise broken("decision_missing", f"record {index}")
        if decision is not None and decision.session != session:
            raise broken("decision_of_another_session", f"record {index}")
        return decision

    def _may_predate(self, session: str) -> bool:
        """Whether the session may have been opened by a record that is pruned; if so it counts as open from here."""
        if self._known_start or session in self._closed:
            return False
        self._sessions.add(session)
        return True


def _read(entry: bytes) -> Record:
    try:
        record = orjson.loads(entry)
        if isinstance(record, dict) and "kind" in record and "time" in record and canonical(record) == entry:
            return record
    except ValueError as error:
        raise broken("record_not_canonical", str(error)) from None
    raise broken("record_not_canonical")


def _read_stamp(stamp: object) -> float:
    if not isinstance(stamp, str) or len(stamp) != 27 or not stamp.endswith("Z"):
        raise broken("time_malformed", str(stamp)[:40])
    try:
        return datetime.fromisoformat(stamp[:-1] + "+00:00").timestamp()
    except ValueError:
        raise broken("time_malformed", stamp) from None
