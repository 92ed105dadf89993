"""Times that callers give."""

from datetime import datetime

from broker.api.problems import Problem


def moment_of(name: str, text: str, code: str = "query_invalid") -> float | None:
    """Epoch seconds of an RFC 3339 time, None if none is given. Raises Problem with that code."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return moment.timestamp()
    except (ValueError, OverflowError):
        pass
    problem = "must be a time with offset, like 2026-11-28T08:00:00Z"
    raise Problem(code, f"{name}: {problem}", members={"errors": [{"at": name, "problem": problem}]})
