"""Emergencies in memory, as far as the API can see; `PARTS` open one."""

from dataclasses import replace

from broker.access.emergencies import signed, signing_refused
from broker.errors import StateUnavailableError
from broker.model.emergency import Emergency, NotOpened, OpeningRefusal, Signature
from broker.model.vocabulary import Action

NOW = 1_795_000_000.0
PARTS = ["part-a", "part-b"]
OURS = Emergency(
    id="emg-ours",
    site="plant",
    subject="di@plant.example",
    organisation="plant-owner",
    why="fire alarm",
    opened_at=NOW - 60,
    until=NOW + 3600,
    actions=(Action.VIEW, Action.ADJUST),
    broker="b/ledger",
    seal="seal-1",
    parts=(1, 3),
    peer="127.0.0.1:4711",
)
THEIRS = replace(OURS, id="emg-theirs", broker="other/ledger", ended_at=NOW, ended_by="cy@plant.example")


class BreakGlassDouble:
    """One emergency that holds, and one of another broker; whoever is in `holders` holds one, at `site`."""

    def __init__(self):
        self.emergencies = (OURS,)
        self.elsewhere = (THEIRS,)
        self.holders = {}
        self.looked = 0
        self.refusal = None
        self.asked = []
        self.state = True

    def now(self):
        return NOW

    def holds(self, subject, site):
        self.looked += 1
        return subject.id in self.holders and site in ("", self.holders[subject.id])

    async def open(self, subject, site, why, minutes, raw_parts, peer):
        self.asked.append((subject.id, site, why, minutes, peer))
        if self.refusal is not None:
            return NotOpened(self.refusal, 9.5)
        if raw_parts != PARTS:
            return NotOpened(OpeningRefusal.PARTS_REFUSED)
        found = replace(OURS, id="emg-new", subject=subject.id, organisation=subject.organisation, site=site, why=why)
        self.emergencies = (*self.emergencies, found)
        return found

    async def close(self, emergency, by):
        if emergency in self.elsewhere and not self.state:
            raise StateUnavailableError("state_unavailable", "The state cannot be reached.")
        self._put(replace(emergency, ended_at=NOW, ended_by=by))

    async def sign(self, emergency, by, comment):
        refused = signing_refused(emergency, by, NOW)
        if refused is None:
            emergency = signed(emergency, Signature(by, NOW, comment))
            self._put(emergency)
        return refused or emergency

    def _put(self, emergency):
        self.emergencies = tuple(emergency if old.id == emergency.id else old for old in self.emergencies)
