"""Live control as far as the API can see: real watchers, and a register that is the gate's."""

from types import SimpleNamespace

from broker.listeners.watchers import Watchers
from broker.model.vocabulary import EndReason

NOW = 1_795_000_010.0


class SupervisionDouble:
    """`lost` is why a watcher's proofs hold no longer, once they do not."""

    def __init__(self, gate):
        self._gate = gate
        self._pauses = {}
        self.watchers = Watchers(SimpleNamespace(now=lambda: NOW))
        self.lost = None
        self.soon = None
        self.policy = "policy-1"
        self.acts = []
        self.left = []

    def session(self, identifier):
        return next((s for s in self._gate.sessions() if s.id == identifier and s.ended is None), None)

    def outlook(self, session):
        return SimpleNamespace(
            grants=("look",),
            ends=(NOW + 60, EndReason.WINDOW_CLOSED),
            per_second=2.46,
            paused=self._pauses.get(session.id),
            supervised=False,
        )

    def ends_soon(self, session):
        return self.soon

    def pause(self, session, by, why):
        self.acts.append(("pause", session.id, by.id, why))
        self._pauses[session.id] = SimpleNamespace(by=by.id, since=NOW, why=why)
        session.pause()

    def resume(self, session, by, why):
        self.acts.append(("resume", session.id, by.id, why))
        self._pauses.pop(session.id, None)
        session.resume()

    def end(self, session, by, why):
        self.acts.append(("end", session.id, by.id, why))
        session.end(EndReason.ENDED_BY_ADMINISTRATOR)
        self.watchers.closed(session)

    def watch(self, subject, session, site=""):
        watcher = self.watchers.add(subject.id, "" if session is None else session.id, site)
        self._follow()
        return watcher

    def supervise(self, watcher, able):
        watcher.supervises = able
        self._follow()

    def leave(self, watcher, what, reason):
        self.left.append((watcher.subject, what, reason))
        self.watchers.remove(watcher)
        self._follow()

    def standing(self, subject):
        return self.lost or subject

    def revisions(self):
        return self.policy, self._gate.inventory.revision

    def _follow(self):
        for session in self._gate.sessions():
            self.watchers.follow(session)
