"""What must hold of emergencies between records: `invariants` asks, and says what is broken."""

GRACE_SECONDS = 1.0
_OVER = float("-inf")


class Emergencies:
    """Emergencies as the records tell them, and which sessions belong to which; times are epoch seconds."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        self._sessions: dict[str, str] = {}

    def opened(self, emergency: str, until: float) -> bool:
        """It holds from here on, or goes on after a restart; False if it had ended."""
        if self._until.get(emergency) == _OVER:
            return False
        self._until[emergency] = until
        return True

    def ended(self, emergency: str) -> None:
        """It gives nothing any more."""
        self._until[emergency] = _OVER

    def entered(self, session: str, emergency: str, time: float, may_predate: bool) -> bool:
        """A session was opened, in an emergency or ("") in none; False if that did not hold.

        `may_predate`: the record that opened the emergency may have been pruned.
        """
        self._sessions[session] = emergency
        if may_predate and emergency not in self._until:
            self._until[emergency] = float("inf")
        return not emergency or time <= self._until.get(emergency, _OVER) + GRACE_SECONDS

    def left(self, session: str) -> None:
        """A session has ended."""
        self._sessions.pop(session, None)

    def over(self, session: str, time: float) -> bool:
        """Whether the emergency of a session has ended."""
        emergency = self._sessions.get(session, "")
        return bool(emergency) and time > self._until.get(emergency, _OVER) + GRACE_SECONDS

    def decided_wrongly(self, session: str, fixed: bool) -> bool:
        """Whether a session that is known was decided by the policy that is not for it."""
        emergency = self._sessions.get(session)
        return emergency is not None and bool(emergency) is not fixed
