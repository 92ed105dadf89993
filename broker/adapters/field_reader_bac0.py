"""BAC0 as a silent listener on a segment: it asks who is there and reads, announces nothing and answers nothing.

BAC0 brings up the network, the registration as a foreign device, and Who-Is. Its reading methods invent what a device
does not have (units, texts) and take one string of words, so requests go to the stack below it; values are taken from
there as tags and judged by our own rules. It reads `.env` in the working folder, keeps a folder in the home folder,
writes to standard output and looks for an address of its own if it is given none: it is loaded and started in an empty
folder that is home and working folder at once, without output, and always given its address.
"""

import asyncio
import contextlib
import logging
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any

from bacpypes3.apdu import (
    AbortPDU,
    ErrorPDU,
    ErrorRejectAbortNack,
    IAmRequest,
    ReadPropertyMultipleRequest,
    ReadPropertyRequest,
    RejectPDU,
)
from bacpypes3.basetypes import PropertyIdentifier, PropertyReference, ReadAccessSpecification
from bacpypes3.pdu import Address
from bacpypes3.primitivedata import ObjectIdentifier
from bacpypes3.settings import settings

from broker.adapters.field_reader import Announced, Answer, NoAnswerError, RefusedError
from broker.errors import ConfigError, FrameError
from broker.model.field import Bounds, FieldAddress
from broker.wire.bacnet.references import Reference
from broker.wire.bacnet.standard import error_text
from broker.wire.bacnet.tags import decode_tags

FOREIGN_TTL_SECONDS = 60
_SEGMENTATION = {"segmented-both": "both", "segmented-transmit": "transmit", "segmented-receive": "receive"}
_MOST_HEARD = 10_000
_SPARE_SECONDS = 0.25
_UNREADABLE = "value/unreadable"


class Bac0Reader:
    """One interface; `FieldReader` of it."""

    def __init__(self, network: Any, bounds: Bounds) -> None:
        self._network = network
        self._application = network.this_application.app
        self._bounds = bounds
        self._heard: dict[tuple[int, FieldAddress], Announced] = {}
        self._hush()

    def _hush(self) -> None:
        """Nothing is answered, nobody is let in, and no device can send more than fits one datagram."""
        application, device = self._application, self._application.device_object
        # 5.4.4: a segmented reply ends the transaction at once, so nothing is collected that could have no end.
        device.segmentationSupported = "no-segmentation"
        device.maxApduLengthAccepted = 1476
        device.apduTimeout = int(self._bounds.response_seconds * 1000)
        device.numberOfApduRetries = 1
        application.indication = self._hear

    async def _hear(self, apdu: Any) -> None:
        """Requests of others: only I-Am is listened to."""
        if not isinstance(apdu, IAmRequest) or len(self._heard) >= _MOST_HEARD:
            return
        instance, place = int(apdu.iAmDeviceIdentifier[1]), _field_address(apdu.pduSource)
        if place is not None:
            kind = _SEGMENTATION.get(str(apdu.segmentationSupported), "none")
            said = Announced(instance, place, int(apdu.maxAPDULengthAccepted), kind, int(apdu.vendorID))
            self._heard.setdefault((instance, place), said)
            await self._application.do_IAmRequest(apdu)  # so that a device asked alone need not be waited for

    async def networks(self, router: FieldAddress | None) -> tuple[int, ...]:
        """See `FieldReader`. BAC0 forgets what comes later than the stack's own two seconds; the stack keeps it."""
        place = _address(router) if router else None
        clock = asyncio.get_running_loop().time
        until = clock() + self._bounds.listen_seconds
        await self._application.nse.who_is_router_to_network(destination=place)
        if place is None:
            await asyncio.sleep(max(0.0, until - clock()))
        learned = self._application.nsap.router_info_cache.router_dnets.items()
        some = [numbers for (_, address), numbers in learned if place is None or address == place]
        found = {int(number) for numbers in some for number in numbers}
        return tuple(sorted(number for number in found if 0 < number < 65535))

    async def who_is(
        self, low: int, high: int, device: FieldAddress | None = None, network: int | None = None
    ) -> tuple[Announced, ...]:
        """See `FieldReader`. BAC0 keeps one device for each instance; two that share one are both kept here."""
        self._heard.clear()
        place = "*" if device is None and network is None else f"{network}:*" if device is None else _address(device)
        await self._network.who_is(str(place), low, high, timeout=self._bounds.listen_seconds)
        return tuple(said for said in self._heard.values() if low <= said.instance <= high)

    async def read(self, device: FieldAddress, references: Sequence[Reference]) -> Mapping[Reference, Answer]:
        """See `FieldReader`."""
        request = _single(references[0]) if len(references) == 1 else _multiple(references)
        request.pduDestination = _address(device)
        try:
            # Twice the time, for the one repetition; what the stack cannot decode it never answers.
            async with asyncio.timeout(2 * self._bounds.response_seconds + _SPARE_SECONDS):
                reply = await self._application.request(request)
        except TimeoutError:
            raise NoAnswerError from None
        except ErrorRejectAbortNack as refusal:  # a BaseException
            raise _refusal(refusal) from None
        if len(references) == 1:
            return {references[0]: _single_answer(reply, references[0])}
        return dict(_answers(reply))


def _refusal(refusal: Any) -> Exception:
    if isinstance(refusal, AbortPDU):
        reason = str(refusal.apduAbortRejectReason)
        return NoAnswerError() if reason == "no-response" else RefusedError(f"abort-{reason}")
    if isinstance(refusal, RejectPDU):
        return RefusedError(f"reject-{refusal.apduAbortRejectReason}")
    if isinstance(refusal, ErrorPDU):
        return RefusedError(error_text(int(refusal.errorClass), int(refusal.errorCode)))
    return NoAnswerError()


def _single(at: Reference) -> Any:
    return ReadPropertyRequest(
        objectIdentifier=ObjectIdentifier((at.object_type, at.instance)),
        propertyIdentifier=PropertyIdentifier(at.property),
        propertyArrayIndex=at.array_index,
    )


def _multiple(references: Sequence[Reference]) -> Any:
    by_object: dict[tuple[int, int], list[Any]] = {}
    for at in references:
        wanted = PropertyReference(
            propertyIdentifier=PropertyIdentifier(at.property), propertyArrayIndex=at.array_index
        )
        by_object.setdefault((at.object_type, at.instance), []).append(wanted)
    specifications = [
        ReadAccessSpecification(objectIdentifier=ObjectIdentifier(which), listOfPropertyReferences=wanted)
        for which, wanted in by_object.items()
    ]
    return ReadPropertyMultipleRequest(listOfReadAccessSpecs=specifications)


def _single_answer(reply: Any, at: Reference) -> Answer:
    """What a reply says of just what was asked; the stack does not look whether it is about that."""
    try:
        kind, instance = reply.objectIdentifier
        index = None if reply.propertyArrayIndex is None else int(reply.propertyArrayIndex)
        about = Reference(int(kind), int(instance), int(reply.propertyIdentifier), index)
    except (AttributeError, TypeError, ValueError):
        return _UNREADABLE
    return _answer(reply.propertyValue) if about == at else _UNREADABLE


def _answers(reply: Any) -> Iterator[tuple[Reference, Answer]]:
    for result in getattr(reply, "listOfReadAccessResults", None) or ():
        kind, instance = result.objectIdentifier
        for each in result.listOfResults or ():
            index = None if each.propertyArrayIndex is None else int(each.propertyArrayIndex)
            at = Reference(int(kind), int(instance), int(each.propertyIdentifier), index)
            error = each.readResult.propertyAccessError
            if error is not None:
                yield at, error_text(int(error.errorClass), int(error.errorCode))
            else:
                yield at, _answer(each.readResult.propertyValue)


def _answer(value: Any) -> Answer:
    """The tags of a value, which stands between an opening and a closing tag (15.5, 15.7), by our own strict rules."""
    try:
        tags = decode_tags(bytes(value.tagList.encode().pduData))
    except (FrameError, AttributeError, ValueError, TypeError):
        return _UNREADABLE
    if len(tags) < 2 or tags[0].kind != "opening" or tags[-1] != tags[0]._replace(kind="closing"):
        return _UNREADABLE
    return tags[1:-1]


def _address(device: FieldAddress) -> Any:
    """The stack's address; the router of a remote one is the one that the device was heard through."""
    if device.network is None:
        return Address(f"{device.host}:{device.port}")
    return Address(f"{device.network}:0x{device.mac.hex()}@{device.host}:{device.port}")


def _field_address(source: Any) -> FieldAddress | None:
    """Ours, from the stack's; None for what is no address of a station."""
    route = source.addrRoute
    try:
        if source.is_localstation:
            host, port = source.addrTuple
            return FieldAddress(str(host), int(port))
        if source.is_remotestation and route is not None:
            host, port = route.addrTuple
            return FieldAddress(str(host), int(port), int(source.addrNet), bytes(source.addrAddr))
    except (AttributeError, TypeError, ValueError):
        pass
    return None


@contextlib.asynccontextmanager
async def bac0_reader(interface: str, port: int, bounds: Bounds, bbmd: str = "") -> AsyncIterator[Bac0Reader]:
    """A reader on an interface `address/prefix`, as foreign device of a BBMD `host:port` if one is given.

    One at a time in a process. Raises ConfigError.
    """
    _require_port(str(IPv4Interface(interface).ip), port)
    loop = asyncio.get_running_loop()
    handler = loop.get_exception_handler()
    # What the stack stumbles over in a datagram ends there; whoever waits for an answer then waits in vain.
    loop.set_exception_handler(lambda _loop, _context: None)
    with _contained():
        network = _started(f"{interface}:{port}", bbmd)
    link = next(iter(network.this_application.app.link_layers.values()))
    try:
        await asyncio.gather(*link.server._transport_tasks)
        if bbmd:
            await _registered(link, bbmd, bounds.response_seconds)
        yield Bac0Reader(network, bounds)
    finally:
        if bbmd:
            link.unregister()
            await asyncio.sleep(0)
        await network._disconnect()
        settings.route_aware = False
        loop.set_exception_handler(handler)


def _require_port(address: str, port: int) -> None:
    """The stack would try for ever."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, port))
        except OSError as error:
            public = f"UDP {address}:{port} cannot be used: {error.strerror}."
            hint = "Give an address of this machine and a port that nothing else uses."
            raise ConfigError("interface_unusable", public, hint) from None


async def _registered(link: Any, bbmd: str, seconds: float) -> None:
    """Wait for the BBMD's word."""
    try:
        await asyncio.wait_for(link._registration_event.wait(), seconds)
    except TimeoutError:
        link.unregister()
        public = f"The BBMD {bbmd} does not take this machine as a foreign device."
        raise ConfigError("bbmd_refuses", public, "Look at its table of foreign devices.") from None


def _started(place: str, bbmd: str) -> Any:
    import BAC0

    # Whom an answer came through: a device behind a router is reached through that one.
    settings.route_aware = True
    _silence()

    class SilentBac0(BAC0.lite):  # type: ignore[misc]
        """Announces nothing."""

        def i_am(self) -> None:
            """Stay silent."""

    foreign = {"bbmdAddress": bbmd, "bbmdTTL": FOREIGN_TTL_SECONDS} if bbmd else {}
    return SilentBac0(ip=place, ping=False, **foreign)


def _silence() -> None:
    """What libraries write about datagrams is written by whoever sent them."""
    for name in [*logging.root.manager.loggerDict, "bacpypes3"]:
        if name.startswith(("BAC0", "bacpypes3")):
            logger = logging.getLogger(name)
            logger.handlers = [logging.NullHandler()]
            logger.propagate = False
            logger.setLevel(logging.CRITICAL + 1)


@contextlib.contextmanager
def _contained() -> Iterator[None]:
    """An empty folder as home and working folder, and nowhere to write."""
    home, here = os.environ.get("HOME"), Path.cwd()
    with tempfile.TemporaryDirectory(prefix="otbroker-") as folder, Path(os.devnull).open("w") as nowhere:
        os.environ["HOME"] = folder
        os.chdir(folder)
        try:
            with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
                yield
        finally:
            os.chdir(here)
            if home is None:
                del os.environ["HOME"]
            else:
                os.environ["HOME"] = home
