"""One contract for every way to a Modbus device, held by the simulator and by devices that nobody here wrote."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from broker.model.operation import Relayed
from broker.model.place import Budget, Device
from broker.model.vocabulary import Result
from tests.contract.devices import MODBUS_DEVICES
from tests.integration.upstreams.asking import asked, modbus_device, pdu, upstreams

PATIENT = Budget(queue=200, response_timeout_seconds=5.0)
every_device = pytest.mark.parametrize("name", MODBUS_DEVICES)
Ask = Callable[[str], Awaitable[Relayed]]


def with_device(name: str, test: Callable[[Ask, Device], Awaitable[None]]) -> None:
    async def play() -> None:
        async with MODBUS_DEVICES[name]() as way:
            device = modbus_device(way, budget=PATIENT)
            async with upstreams(device) as ways:
                lane = ways.upstream(device.key)
                await test(lambda octets: asked(lane, pdu(device, octets)), device)
                (state,) = ways.states()
                assert (state.faults, state.timeouts, state.in_flight, state.queued) == (0, 0, 0, 0)

    asyncio.run(play())


def done(relayed: Relayed) -> str:
    assert relayed.result == Result.DONE, relayed
    assert relayed.code == ""
    return relayed.payload.hex()


@every_device
def test_registers_are_read_as_they_are(name: str) -> None:
    async def test(ask: Ask, device: Device) -> None:
        assert done(await ask("0300030003")) == "0306000300040005"
        assert done(await ask("0400c70001")) == "040200c7"
        assert len(done(await ask("030000007d"))) == 2 * 252

    with_device(name, test)


@every_device
def test_what_is_written_is_read_back(name: str) -> None:
    async def test(ask: Ask, device: Device) -> None:
        assert done(await ask("06000a00c8")) == "06000a00c8"
        assert done(await ask("10000b000204ffff0001")) == "10000b0002"
        assert done(await ask("03000a0003")) == "030600c8ffff0001"
        assert done(await ask("170003000100070001021234")) == "17020003"
        assert done(await ask("0300070001")) == "03021234"

    with_device(name, test)


@every_device
def test_coils_are_written_and_read_back(name: str) -> None:
    async def test(ask: Ask, device: Device) -> None:
        assert done(await ask("050003ff00")) == "050003ff00"
        assert done(await ask("0f0008000a02a503")) == "0f0008000a"
        assert done(await ask("0100080009")) == "0102a501"
        assert done(await ask("0100030001")) == "010101"

    with_device(name, test)


@every_device
def test_a_refusal_is_the_devices_own_and_the_next_request_is_answered(name: str) -> None:
    async def test(ask: Ask, device: Device) -> None:
        for request in ("0300c80001", "0600c80001", "0300c00064"):
            relayed = await ask(request)
            assert (relayed.result, relayed.code) == (Result.DEVICE_REFUSED, "exception-2")
            assert relayed.payload == bytes((int(request[:2], 16) | 0x80, 2))
        assert done(await ask("0300000001")) == "03020000"

    with_device(name, test)


@every_device
def test_many_callers_at_once_each_get_their_own_answer(name: str) -> None:
    async def test(ask: Ask, device: Device) -> None:
        addresses = [n * 7 % 200 for n in range(60)]
        answers = await asyncio.gather(*(ask(f"03{address:04x}0001") for address in addresses))
        assert [done(answer) for answer in answers] == [f"0302{address:04x}" for address in addresses]

    with_device(name, test)
