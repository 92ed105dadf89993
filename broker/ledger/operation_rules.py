"""What a decision allows and an intent meant, taken from their records, and what an allow must rest on."""

from typing import Any

from broker.errors import IntegrityError
from broker.ledger.armings import Reliance
from broker.model.decision import EntryPoint

Record = dict[str, Any]


class Decided:
    """A decision, as far as what follows it depends on it."""

    __slots__ = ("allow", "entry_point", "fixed", "leave", "opens", "reliance", "session", "undoes", "valid_until")

    def __init__(self, record: Record) -> None:
        self.opens = record["entry_point"] == EntryPoint.SESSION.value
        self.leave = self.undoes = ""
        if record["entry_point"] == EntryPoint.LEAVE.value:
            question = record["input"]
            self.leave, self.opens = question["leave"]["id"], question["operation"] is None
            if not self.opens and question["operation"]["writes"]:
                self.undoes = owed_place(question["leave"]["debt"])
        self.fixed = record["entry_point"] == EntryPoint.EMERGENCY.value
        if self.fixed:
            self.opens = "operation" not in record["input"]
        self.session: str = record["session"]
        self.allow: bool = record["allow"]
        self.entry_point: str = record["entry_point"]
        self.valid_until: float | None = record["answer"].get("valid_until")
        self.reliance: Reliance | None = None


class Intended:
    """An intent that waits for its outcome, and what that must not be."""

    __slots__ = ("alone", "astray", "denied", "late", "leave", "over", "paused", "session", "time", "undoes")

    def __init__(
        self,
        session: str,
        time: float,
        denied: bool,
        late: bool,
        paused: bool,
        alone: bool = False,
        leave: str = "",
        undoes: str = "",
        over: bool = False,
        astray: bool = False,
    ) -> None:
        self.over = over
        self.astray = astray
        self.leave = leave
        self.undoes = undoes
        self.session = session
        self.paused = paused
        self.time = time
        self.denied = denied
        self.late = late
        self.alone = alone


def require_access(question: Record) -> None:
    """An allow needs a window open at its `now`, or a standing grant; parts cut for length count as there."""
    windows = question["windows"]
    opened = windows.get("open", ()) if "cut" not in windows else ()
    for window in opened:
        if not window["opens"] <= question["now"] < window["closes"]:
            raise broken("window_not_open", str(window["id"]))
    if not opened and not question["grants"] and "cut" not in windows:
        raise broken("allow_without_window_or_grant")


def require_undo(question: Record) -> None:
    """An allow to the broker itself is for looking, or for writing exactly what undoes the debt; without a debt for
    cancelling a subscription of its own. Never in a freeze.
    """
    if question["freezes"]:
        raise broken("undone_in_a_freeze", question["leave"]["id"])
    operation, debt = question["operation"], question["leave"]["debt"]
    if operation is not None and debt is None and operation["facts"].get("cancels") != "true":
        raise broken("undone_otherwise_than_owed", question["leave"]["id"])
    if operation is None or not operation["writes"]:
        return
    wanted = "null" if debt["undo"] == "release" else debt["before"]
    if operation["values"].get(debt["point"]) != wanted or operation["priority"] != debt["priority"]:
        raise broken("undone_otherwise_than_owed", question["leave"]["id"])


def owed_place(debt: Record) -> str:
    """A point, or one priority of it."""
    return f"{debt['point']}/{debt['priority'] or ''}"


def broken(code: str, detail: str = "") -> IntegrityError:
    """A rule that does not hold, named by its code."""
    return IntegrityError(code, code.replace("_", " "), detail)
