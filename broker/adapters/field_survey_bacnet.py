"""A look at the BACnet devices of a segment: who is there, and what they say of their objects. It only reads.

One request at a time, at a gentle pace, within bounds of objects, devices and time; what was found before a device
fell silent, or before the time was up, is kept. No segmented reply is taken: what does not fit is asked for in parts.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from broker.adapters.field_pace import Pace, TimeIsUpError
from broker.adapters.field_reader import Announced, Answer, FieldReader, NoAnswerError, RefusedError
from broker.adapters.field_words import NOT_SENT, Said, Tell, identifiers
from broker.model.field import Bounds, FieldAddress, FoundDevice, FoundObject
from broker.settings.bacnet_words import COMMANDABLE, OBJECT_TYPES
from broker.wire.bacnet.references import Reference
from broker.wire.bacnet.standard import object_type_word

DEVICE = 8  # clause 21, BACnetObjectType
# Clause 21, BACnetPropertyIdentifier.
_ACTIVE_TEXT, _SOFTWARE, _DESCRIPTION, _FIRMWARE, _INACTIVE_TEXT, _LOCATION = 4, 12, 28, 44, 46, 58
_MAXIMUM, _MINIMUM, _MODEL, _STATES, _LIST, _NAME, _OUTPUT_UNITS = 65, 69, 70, 74, 76, 77, 82
_PRIORITIES, _SERVICES, _STATE_TEXT, _UNITS, _VENDOR, _REVISION = 87, 97, 110, 117, 121, 139
_OF_DEVICE = (_NAME, _VENDOR, _MODEL, _FIRMWARE, _SOFTWARE, _DESCRIPTION, _LOCATION, _REVISION, _SERVICES)
_BINARY = frozenset(("binary-input", "binary-output", "binary-value", "binary-lighting-output"))
_MULTI_STATE = frozenset(("multi-state-input", "multi-state-output", "multi-state-value"))
_NUMERIC = frozenset(
    (
        *("accumulator", "analog-input", "analog-output", "analog-value", "integer-value", "large-analog-value"),
        *("lighting-output", "positive-integer-value", "pulse-converter"),
    )
)
_LEAST_PROPRIETARY = 128
_MOST_STATE_TEXTS = 64
_ELEMENT_OCTETS = 16  # 15.7: identifier, property, index, tags and one object identifier
_HEAD_OCTETS = 32
_MOST_ELEMENTS = 32
_SILENCES_IN_A_ROW, _SILENCES = 3, 20
_MOST_DOUBLES_TOLD = 20
_MOST_NETWORKS = 64


class _SilentError(Exception):
    """The device does not answer any more."""


class BacnetFieldSurvey:
    """One look; `found` has what there is so far, also when the look is broken off."""

    def __init__(self, reader: FieldReader, bounds: Bounds, pace: Pace, tell: Tell) -> None:
        self.found: list[FoundDevice] = []
        self.trouble: list[str] = []
        self._reader = reader
        self._bounds = bounds
        self._pace = pace
        self._tell = tell

    async def look(self, low: int, high: int, devices: Sequence[FieldAddress], networks: Sequence[int]) -> None:
        """Ask who has an instance from `low` to `high`, and each of them for what it has.

        With `devices`, only these are asked, and routers among them; `networks` bounds the networks behind routers.
        """
        try:
            heard = await self._heard(low, high, devices, networks)
            for place, announced in enumerate(heard, 1):
                self._tell(f"device {announced.instance} ({place} of {len(heard)})")
                await self._survey(announced)
        except TimeIsUpError:
            self.trouble.append(f"the time of {self._bounds.total_seconds:g} seconds was up before all was read")

    async def _heard(
        self, low: int, high: int, devices: Sequence[FieldAddress], networks: Sequence[int]
    ) -> list[Announced]:
        """Everybody who said he is there, once, by instance."""
        heard: dict[Announced, None] = {}
        for device in devices or (None,):
            await self._pace.turn()
            heard |= dict.fromkeys(await self._reader.who_is(low, high, device))
            if device is None or networks:
                heard |= dict.fromkeys(await self._behind(low, high, device, networks))
        return self._chosen(sorted(heard, key=_order))

    async def _behind(
        self, low: int, high: int, router: FieldAddress | None, networks: Sequence[int]
    ) -> list[Announced]:
        """Who said he is there on networks behind routers."""
        await self._pace.turn()
        behind = await self._reader.networks(router)
        named = sorted(set(behind) & set(networks) if networks else behind)
        if len(named) > _MOST_NETWORKS:
            self.trouble.append(f"routers name {len(named)} networks, of which {_MOST_NETWORKS} were looked into")
        heard: list[Announced] = []
        for network in named[:_MOST_NETWORKS]:
            await self._pace.turn()
            heard += await self._reader.who_is(low, high, network=network)
        return heard

    def _chosen(self, heard: list[Announced]) -> list[Announced]:
        self._tell(f"{len(heard)} device{'' if len(heard) == 1 else 's'} answered")
        counts = Counter(announced.instance for announced in heard)
        for instance in sorted(number for number, count in counts.items() if count > 1)[:_MOST_DOUBLES_TOLD]:
            self.trouble.append(f"several devices say that they are device {instance}")
        if len(heard) > self._bounds.devices:
            self.trouble.append(f"{len(heard)} devices answered, of which {self._bounds.devices} were looked at")
        return heard[: self._bounds.devices]

    async def _survey(self, announced: Announced) -> None:
        reading = _Reading(self._reader, announced, self._pace, self._bounds, self._tell)
        try:
            await reading.run()
        except _SilentError:
            reading.trouble.append("it stopped answering")
        except TimeIsUpError:
            reading.trouble.append("the time was up")
            raise
        finally:
            self.found.append(reading.device())


@dataclass(slots=True)
class _Reading:
    """What is read of one device."""

    reader: FieldReader
    announced: Announced
    pace: Pace
    bounds: Bounds
    tell: Tell
    trouble: list[str] = field(default_factory=list)
    objects: list[FoundObject] = field(default_factory=list)
    requests: int = 0
    told: int | None = None
    said: Said = field(init=False)
    _multiple: bool = True
    _in_a_row: int = 0
    _silences: int = 0

    def __post_init__(self) -> None:
        self.said = Said(DEVICE, self.announced.instance, {})

    async def run(self) -> None:
        """Read all of it. Raises _SilentError, TimeIsUpError."""
        device = self.announced.instance
        self.said = Said(DEVICE, device, await self._read([Reference(DEVICE, device, p, None) for p in _OF_DEVICE]))
        listed = await self._listed()
        for place, (object_type, instance) in enumerate(listed):
            if place and place % 100 == 0:
                self.tell(f"device {device}: {place} of {len(listed)} objects")
            if object_type != DEVICE:
                self.objects.append(await self._object(object_type, instance))
        self.tell(f"device {device}: {len(listed)} of {len(listed)} objects")

    def device(self) -> FoundDevice:
        """What there is so far."""
        said, announced = self.said, self.announced
        return FoundDevice(
            instance=announced.instance,
            address=announced.address,
            vendor_identifier=announced.vendor_identifier,
            max_apdu=announced.max_apdu,
            segmentation=announced.segmentation,
            name=said.text(_NAME, "object-name"),
            vendor=said.text(_VENDOR, "vendor-name"),
            model=said.text(_MODEL, "model-name"),
            firmware=said.text(_FIRMWARE, "firmware-revision"),
            software=said.text(_SOFTWARE, "application-software-version"),
            description=said.text(_DESCRIPTION, "description"),
            location=said.text(_LOCATION, "location"),
            revision=said.unsigned(_REVISION, "protocol-revision"),
            services=said.services(_SERVICES, "protocol-services-supported"),
            objects_told=self.told,
            objects=tuple(self.objects),
            requests=self.requests,
            trouble=(*self.trouble, *said.trouble),
        )

    async def _listed(self) -> list[tuple[int, int]]:
        """The objects, each once: whole if the list fits into one reply, else element by element."""
        device = self.announced.instance
        at = Reference(DEVICE, device, _LIST, 0)
        said = Said(DEVICE, device, await self._read([at]))
        self.told = said.unsigned(_LIST, "the length of object-list", index=0)
        self.trouble += said.trouble
        if self.told is None or 5 * self.told + _HEAD_OCTETS <= self.announced.max_apdu:
            whole = identifiers((await self._read([at._replace(array_index=None)])).popitem()[1])
            if whole is not None:
                return self._bounded(whole)
        if self.told is None:
            self.trouble.append("it does not say which objects it has")
            return []
        return self._bounded(await self._elements(at, min(self.told, self.bounds.objects)))

    def _bounded(self, listed: list[tuple[int, int]]) -> list[tuple[int, int]]:
        if max(len(listed), self.told or 0) > self.bounds.objects:
            told = self.told or len(listed)
            self.trouble.append(f"it says it has {told} objects, of which {self.bounds.objects} were looked at")
        return list(dict.fromkeys(listed[: self.bounds.objects]))

    async def _elements(self, at: Reference, count: int) -> list[tuple[int, int]]:
        fitting = (self.announced.max_apdu - _HEAD_OCTETS) // _ELEMENT_OCTETS
        listed: list[tuple[int, int]] = []
        for indexes in _batches(range(1, count + 1), max(1, min(_MOST_ELEMENTS, fitting))):
            wanted = [at._replace(array_index=index) for index in indexes]
            answers = await self._read(wanted)
            for each in wanted:
                found = identifiers(answers[each])
                if found is None or len(found) != 1:
                    self.trouble.append(f"element {each.array_index} of object-list is no object: it was cut there")
                    return listed
                listed += found
        return listed

    async def _object(self, object_type: int, instance: int) -> FoundObject:
        word = object_type_word(object_type)
        properties = [_NAME, _DESCRIPTION, *_wanted(word)]
        wanted = [Reference(object_type, instance, property, None) for property in properties]
        priorities = Reference(object_type, instance, _PRIORITIES, 0)
        if word in COMMANDABLE or object_type >= _LEAST_PROPRIETARY:
            wanted.append(priorities)
        answers = await self._read(wanted)
        said = Said(object_type, instance, answers)
        states = said.unsigned(_STATES, "number-of-states")
        if str(said.answer(_STATE_TEXT)).startswith("abort-") and states:
            answers[Reference(object_type, instance, _STATE_TEXT, None)] = await self._state_texts(
                object_type, instance, min(states, _MOST_STATE_TEXTS)
            )
        return FoundObject(
            object_type=word,
            instance=instance,
            name=said.text(_NAME, "object-name"),
            description=said.text(_DESCRIPTION, "description"),
            unit=said.unit(_UNITS, "units") or said.unit(_OUTPUT_UNITS, "output-units"),
            minimum=said.number(_MINIMUM, "min-pres-value"),
            maximum=said.number(_MAXIMUM, "max-pres-value"),
            states=states,
            state_texts=_state_texts(said),
            commandable=_commandable(said.answer(_PRIORITIES, 0)) if priorities in answers else False,
            trouble=tuple(dict.fromkeys(said.trouble)),
        )

    async def _state_texts(self, object_type: int, instance: int, count: int) -> Answer:
        """One by one, where they do not fit into a reply."""
        wanted = [Reference(object_type, instance, _STATE_TEXT, index) for index in range(1, count + 1)]
        answers = await self._read(wanted)
        return tuple(tag for each in wanted if not isinstance(answer := answers[each], str) for tag in answer)

    async def _read(self, wanted: Sequence[Reference]) -> dict[Reference, Answer]:
        """All of it, each by itself where the device cannot do several at once, in parts where they do not fit."""
        if len(wanted) > 1 and not self._multiple:
            return {each: (await self._read([each]))[each] for each in wanted}
        try:
            answers = await self._ask(wanted)
        except RefusedError as refused:
            if len(wanted) == 1:
                return {wanted[0]: refused.reason}
            if refused.reason == "reject-unrecognized-service":
                self._multiple = False
                return await self._read(wanted)
            half = len(wanted) // 2
            return await self._read(wanted[:half]) | await self._read(wanted[half:])
        except NoAnswerError:
            if len(wanted) == 1:
                return {wanted[0]: NOT_SENT}
            # It may live and have one answer that nobody can read: ask for one that shows it.
            return await self._read(wanted[:1]) | await self._read(wanted[1:])
        return {each: answers.get(each, NOT_SENT) for each in wanted}

    async def _ask(self, wanted: Sequence[Reference]) -> dict[Reference, Answer]:
        await self.pace.turn()
        self.requests += 1
        try:
            answers = dict(await self.reader.read(self.announced.address, wanted))
        except NoAnswerError:
            self._in_a_row += 1
            self._silences += 1
            if self._in_a_row >= _SILENCES_IN_A_ROW or self._silences >= _SILENCES:
                raise _SilentError from None
            raise
        except RefusedError:
            self._in_a_row = 0
            raise
        self._in_a_row = 0
        return answers


def _order(announced: Announced) -> tuple[int, str, int, int, bytes]:
    place = announced.address
    return announced.instance, place.host, place.port, place.network or 0, place.mac


def _wanted(word: str) -> tuple[int, ...]:
    """What is asked of an object of that type, beside its name and description."""
    if word in _BINARY:
        return _INACTIVE_TEXT, _ACTIVE_TEXT
    if word in _MULTI_STATE:
        return _STATES, _STATE_TEXT
    if word in _NUMERIC or word not in OBJECT_TYPES:
        return _UNITS, _MINIMUM, _MAXIMUM
    return (_OUTPUT_UNITS,) if word == "loop" else ()


def _state_texts(said: Said) -> tuple[str, ...]:
    texts = said.texts(_STATE_TEXT, "state-text")
    if texts:
        return texts
    binary = (said.text(_INACTIVE_TEXT, "inactive-text"), said.text(_ACTIVE_TEXT, "active-text"))
    return binary if any(binary) else ()


def _commandable(answer: Answer) -> bool | None:
    """Whether an object has priorities, from what it says about how many they are (19.2)."""
    if isinstance(answer, str):
        return False if answer == "property/unknown-property" else None
    return True


def _batches(numbers: range, size: int) -> Iterator[range]:
    return (numbers[start : start + size] for start in range(0, len(numbers), size))
