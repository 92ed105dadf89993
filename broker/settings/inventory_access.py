"""Organisations, windows, freezes and standing grants as the inventory writes them."""

from typing import Annotated, Literal

from pydantic import Field

from broker.model.place import Grant, Organisation
from broker.model.schedule import Freeze, Occurrence, Scope, Window
from broker.model.vocabulary import Action
from broker.settings.fields import DeviceKey, DnsLabel, RoleName, Section, Text, Word
from broker.settings.inventory_places import Labels
from broker.settings.times import Duration, LocalTime, Moment, Until

RelativeFile = Annotated[str, Field(min_length=1, max_length=300)]
ZoneName = Annotated[str, Field(min_length=1, max_length=64)]
Rule = Annotated[str, Field(max_length=300)]


def _set(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(set(values)))


class ScopeEntry(Section):
    """What something applies to: a device matches if each given key does."""

    sites: tuple[DnsLabel, ...] = ()
    """Any of these sites."""
    devices: tuple[DeviceKey, ...] = ()
    """Any of these devices, as `site/device`."""
    labels: Labels = Field(default_factory=dict, max_length=64)
    """All of these labels."""
    organisations: tuple[DnsLabel, ...] = ()
    """Only for subjects of these organisations."""

    def to_model(self) -> Scope:
        """The scope as the rest of the broker knows it."""
        return Scope(_set(self.sites), _set(self.devices), tuple(sorted(self.labels.items())), _set(self.organisations))


class OrganisationEntry(Section):
    """Whom subjects belong to, and what may prove them."""

    id: DnsLabel
    """Name of the organisation."""
    owner: bool = False
    """Whether it owns the plant."""
    anchors: tuple[RelativeFile, ...] = ()
    """PEM files of its certificate authorities, relative to this folder."""
    namespaces: tuple[Word, ...] = ()
    """Names that its certificates may bear: `*@acme.example`, `*.acme.example`, `spiffe://acme.example/*`."""
    crl_files: tuple[RelativeFile, ...] = ()
    """Revocation lists of its authorities, PEM or DER, relative to this folder."""
    crl_required: bool = False
    """Whether nobody is let in without a fresh revocation list of every authority."""
    max_path_length: Annotated[int, Field(ge=0, le=4)] = 1
    """Intermediate authorities between anchor and certificate, at most."""
    contract_from: Moment | None = None
    """When its contract begins."""
    contract_until: Moment | None = None
    """When its contract ends; its sessions end with it."""
    roles: dict[Word, tuple[RoleName, ...]] = Field(default_factory=dict)
    """Roles by subject id: `operator`, or `operator@plant` for things of that site alone."""
    sponsor: Word | Literal[""] = ""
    """Subject of the owner who answers for this organisation."""
    allowed: ScopeEntry | None = None
    """Devices that its subjects may ask for access to; without it, none. The owner's may ask for all."""

    def to_model(self, anchors: tuple[str, ...], crls: tuple[bytes, ...]) -> Organisation:
        """The organisation as the rest of the broker knows it, with what its files contain."""
        return Organisation(
            id=self.id,
            anchors=anchors,
            namespaces=_set(self.namespaces),
            owner=self.owner,
            crls=crls,
            crl_required=self.crl_required,
            max_path_length=self.max_path_length,
            contract_from=self.contract_from,
            contract_until=self.contract_until,
            roles=tuple(sorted((subject, _set(roles)) for subject, roles in self.roles.items())),
            sponsor=self.sponsor,
            allowed=None if self.allowed is None else self.allowed.to_model(),
        )


class _TimedEntry(Section):
    """What every window and freeze has."""

    id: DnsLabel
    """Its name."""
    scope: ScopeEntry = ScopeEntry()
    """What it applies to; without it, everything."""
    starts: LocalTime
    """Local date and time at which it (first) begins."""
    zone: ZoneName
    """IANA time zone, such as `Europe/Berlin`."""
    duration: Duration | None = None
    """Exact length, such as `PT4H`; or `until`."""
    until: Until | None = None
    """Local time of day at which it ends, such as `22:00`; or `duration`."""
    recurrence: Rule = ""
    """Repetition as an RFC 5545 RRULE, such as `FREQ=WEEKLY;BYDAY=SU`; without it, once."""
    description: Text = ""
    """What it is for."""

    def occurrence(self) -> Occurrence:
        """How it lies in time."""
        rule = self.recurrence.upper().removeprefix("RRULE:")
        return Occurrence(self.starts, self.zone, self.duration, self.until, rule)


class WindowEntry(_TimedEntry):
    """A time in which work may be done."""

    def to_model(self) -> Window:
        """The window as the rest of the broker knows it."""
        return Window(self.id, self.scope.to_model(), self.occurrence(), self.description)


class FreezeEntry(_TimedEntry):
    """A time in which nothing may be changed, whatever else says."""

    views: bool = True
    """Whether viewing stays allowed."""

    def to_model(self) -> Freeze:
        """The freeze as the rest of the broker knows it."""
        return Freeze(self.id, self.scope.to_model(), self.occurrence(), self.views, self.description)


class GrantEntry(Section):
    """A standing grant. A subject must match each given one of subjects, organisations and roles."""

    id: DnsLabel
    """Name of the grant."""
    subjects: tuple[Word, ...] = ()
    """Any of these subject ids."""
    organisations: tuple[DnsLabel, ...] = ()
    """Any subject of these organisations."""
    roles: tuple[DnsLabel, ...] = ()
    """Any subject with one of these roles."""
    scope: ScopeEntry
    """Which devices; at least one of sites, devices and labels."""
    points: tuple[DnsLabel, ...] = ()
    """Which of their points; without it, the whole devices."""
    actions: Annotated[tuple[Action, ...], Field(min_length=1)]
    """What may be done."""
    windows: tuple[DnsLabel, ...] = ()
    """Only while one of these windows is open; without it, any window that applies to the device."""
    not_before: Moment | None = None
    """From when it holds."""
    not_after: Moment | None = None
    """Until when it holds."""
    supervised: bool = False
    """Whether it holds only while a supervisor watches."""
    description: Text = ""
    """Why it was given."""

    def to_model(self) -> Grant:
        """The grant as the rest of the broker knows it."""
        return Grant(
            id=self.id,
            scope=self.scope.to_model(),
            actions=tuple(action for action in Action if action in self.actions),
            subjects=_set(self.subjects),
            organisations=_set(self.organisations),
            roles=_set(self.roles),
            points=_set(self.points),
            windows=_set(self.windows),
            not_before=self.not_before,
            not_after=self.not_after,
            supervised=self.supervised,
            description=self.description,
        )
