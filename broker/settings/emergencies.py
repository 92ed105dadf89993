"""Break-glass: the fixed policy of emergencies, which lies in the settings and nowhere else."""

from typing import Annotated, Literal

from pydantic import Field

from broker.model.emergency import EmergencyTerms
from broker.model.vocabulary import Action
from broker.settings.fields import DnsLabel, Section, Word

EmergencyAction = Literal["view", "discover", "adjust", "control"]


class BreakGlassSection(Section):
    """What sealed parts may open. Without this section they open nothing."""

    sites: Annotated[tuple[DnsLabel, ...], Field(min_length=1)]
    """Sites at which an emergency may be opened."""
    actions: Annotated[tuple[EmergencyAction, ...], Field(min_length=1)] = ("view", "adjust", "control")
    """What an emergency lets its holder do; nothing beyond these four can be chosen."""
    longest_minutes: Annotated[int, Field(ge=1, le=480)] = 60
    """Longest time for which one is opened."""
    organisations: tuple[DnsLabel, ...] = ()
    """Whose people may open one, among the organisations that own the plant; without it, all of these."""
    subjects: tuple[Word, ...] = ()
    """Ids of the people who may; without it, all people of these organisations."""

    def to_model(self) -> EmergencyTerms:
        """The terms as the rest of the broker knows them."""
        actions = tuple(Action(action) for action in self.actions)
        return EmergencyTerms(self.sites, actions, self.longest_minutes, self.organisations, self.subjects)
