"""What a broker tells the caller of a tunnel in words, beside what the tunnel carries."""

import time
from datetime import UTC, datetime
from typing import Any

from broker.engine.events import Refused
from broker.listeners.bacnet_notices import Failed
from broker.model.frame_words import frame_refusal_hint, frame_refusal_text
from broker.model.vocabulary import EndReason, Result
from broker.model.words import END_REASONS, RESULTS, reason_text, what_to_do

Document = dict[str, Any]


def denied(refused: Refused, device: str = "", what: str = "") -> Document:
    """A denial; it names the device where the tunnel leads to several, and what was denied there if not all is."""
    decision = next((d for d in refused.decisions if not d.allow), None)
    window = decision.next_window if decision else None
    return {
        "type": "denied",
        **_of(device),
        **({"what": what} if what else {}),
        "reasons": [{"code": str(word), "text": reason_text(word)} for word in refused.reasons],
        "what_to_do": what_to_do(refused.reasons),
        "decision_id": decision.id if decision and decision.id else None,
        "approval": refused.approval or None,
        "next_window": {"id": window[0], "opens": _stamp(window[1]), "closes": _stamp(window[2])} if window else None,
    }


def failed(failed: Failed, device: str) -> Document:
    """What was not answered (of a write whose outcome nobody knows it is told as `unknown`), or not even decided."""
    text, hint = RESULTS[failed.result].text, RESULTS[failed.result].what_to_do
    if failed.result is Result.DENIED:
        text, hint = frame_refusal_text(failed.code) or text, frame_refusal_hint(failed.code)
    told = {"what": failed.what, "result": failed.result.value, "code": failed.code or None}
    return {"type": "failed", **_of(device), **told, "text": text, "what_to_do": hint}


def warning(when: float, why: EndReason, device: str = "") -> Document:
    """Access ends soon; the caller may ask for more in time."""
    left, words = max(0, int(when - time.time())), END_REASONS[why]
    text = f"Access {f'to {device} ' if device else ''}ends at {_stamp(when)}. {words.what_to_do}"
    return {"type": "warning", **_of(device), "reason": why.value, "text": text, "at": _stamp(when), "seconds": left}


def ending(reason: EndReason, device: str = "") -> Document:
    """The tunnel ends, or only the access to that device."""
    words = END_REASONS[reason]
    told = {"reason": reason.value, "text": words.text, "what_to_do": words.what_to_do, "at": _stamp(time.time())}
    return {"type": "ending", **_of(device), **told}


def _of(device: str) -> Document:
    return {"device": device} if device else {}


def _stamp(epoch_seconds: float) -> str:
    return datetime.fromtimestamp(epoch_seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
