"""The constant words of decisions, sessions and the ledger; nothing else in the product invents one."""

from enum import StrEnum


class Action(StrEnum):
    """What kind of thing an operation does, modelled on the scopes of ASHRAE 135-2020cp."""

    VIEW = "view"
    ADJUST = "adjust"
    CONTROL = "control"
    OVERRIDE = "override"
    CONFIG = "config"
    INSTALL = "install"
    AUTH = "auth"
    DISCOVER = "discover"


class Reason(StrEnum):
    """Why something was denied; policies answer with these words and no others."""

    NO_GRANT = "no_grant"
    ACTION_NOT_GRANTED = "action_not_granted"
    POINT_NOT_GRANTED = "point_not_granted"
    POINT_NOT_DESCRIBED = "point_not_described"
    POINT_READ_ONLY = "point_read_only"
    WINDOW_CLOSED = "window_closed"
    FREEZE_ACTIVE = "freeze_active"
    VALUE_BELOW_LIMIT = "value_below_limit"
    VALUE_ABOVE_LIMIT = "value_above_limit"
    VALUE_NOT_ALLOWED = "value_not_allowed"
    PRIORITY_NOT_ALLOWED = "priority_not_allowed"
    SERVICE_NOT_ALLOWED = "service_not_allowed"
    CONTRACT_ENDED = "contract_ended"
    CRITICALITY_NEEDS_BOTH_PROOFS = "criticality_needs_both_proofs"
    ROLE_MISSING = "role_missing"
    DEVICE_UNKNOWN = "device_unknown"
    POINT_UNKNOWN = "point_unknown"
    OBLIGATION_UNMET = "obligation_unmet"
    POLICY_UNDEFINED = "policy_undefined"
    POLICY_ODD = "policy_odd"
    POLICY_LATE = "policy_late"
    POLICY_UNAVAILABLE = "policy_unavailable"
    INPUT_INVALID = "input_invalid"
    LEDGER_CLOSED = "ledger_closed"
    LEDGER_PAUSED = "ledger_paused"
    SESSION_ENDED = "session_ended"
    ACCESS_CHANGED = "access_changed"
    CALLER_GONE = "caller_gone"
    BUDGET_EXHAUSTED = "budget_exhausted"
    DEVICE_DOWN = "device_down"


class EndReason(StrEnum):
    """Why a session ended, or was never opened."""

    PEER_CLOSED = "peer_closed"
    CONNECTION_CLOSED = "connection_closed"
    WINDOW_CLOSED = "window_closed"
    FREEZE_STARTED = "freeze_started"
    GRANT_ENDED = "grant_ended"
    CONTRACT_ENDED = "contract_ended"
    CERTIFICATE_EXPIRED = "certificate_expired"
    CERTIFICATE_REVOKED = "certificate_revoked"
    CRL_STALE = "crl_stale"
    TOKEN_EXPIRED = "token_expired"
    TOKEN_KEY_WITHDRAWN = "token_key_withdrawn"
    POLICY_CHANGED = "policy_changed"
    INVENTORY_CHANGED = "inventory_changed"
    DENIED = "denied"
    FRAME_REFUSED = "frame_refused"
    LIMIT_EXCEEDED = "limit_exceeded"
    IDLE = "idle"
    CLOCK_STEPPED = "clock_stepped"
    LEDGER_CLOSED = "ledger_closed"
    BROKER_STOPPED = "broker_stopped"
    BROKER_FAULT = "broker_fault"
    BROKER_KILLED = "broker_killed"


class Result(StrEnum):
    """How an intended operation came out; an intent has exactly one."""

    DONE = "done"
    DEVICE_REFUSED = "device_refused"
    DENIED = "denied"
    NOT_SENT = "not_sent"
    NO_REPLY = "no_reply"
    BAD_REPLY = "bad_reply"
    UNKNOWN = "unknown"


class RecordKind(StrEnum):
    """The kinds of ledger records."""

    BROKER_STARTED = "broker_started"
    BROKER_STOPPED = "broker_stopped"
    SESSION_OPENED = "session_opened"
    SESSION_CLOSED = "session_closed"
    IDENTITY_REFUSED = "identity_refused"
    FRAME_REFUSED = "frame_refused"
    DECISION = "decision"
    INTENT = "intent"
    OUTCOME = "outcome"
    DENIALS_SUPPRESSED = "denials_suppressed"
    SETTINGS_CHANGED = "settings_changed"
    POLICY_CHANGED = "policy_changed"
    INVENTORY_CHANGED = "inventory_changed"
    ACCESS_CHANGED = "access_changed"
    RELOAD_REFUSED = "reload_refused"
    CLOCK_STEPPED = "clock_stepped"
    TAIL_HEALED = "tail_healed"
    EVIDENCE_VIEWED = "evidence_viewed"
    EVIDENCE_PRUNED = "evidence_pruned"
