"""A failed fsync closes the ledger: nobody is told of a success, nothing more is relayed, until a new start."""

import os
import signal
import ssl
import time

import pytest

from tests.end_to_end.crash.evidence import Evidence
from tests.end_to_end.crash.injection import fsync_fails, injected
from tests.end_to_end.crash.rig import FAULT, Broker, Caller, command_of, descendants
from tests.end_to_end.development import until
from tests.end_to_end.modbus_caller import digest_of

CALLERS = 4
GOOD_FSYNCS = 40


def require_closed(broker: Broker) -> None:
    """Readiness names the ledger, and nobody gets a request through to the device."""
    status, parts = broker.readiness()
    assert status == 503
    assert not parts["ledger"]["ready"]
    assert parts["ledger"]["detail"].startswith("closed"), parts
    seen = len(broker.device.seen)
    for write in (True, False):
        caller = broker.caller()
        try:
            caller.connect()
            assert caller.turn(write=write) != 0
        except (OSError, ssl.SSLError):
            pass
        finally:
            caller.disconnect()
    assert len(broker.device.seen) == seen


def require_working_after_a_new_start(broker: Broker, acknowledged: list[str]) -> None:
    before = Evidence.of(broker.ledger)
    before.require_intents_for(broker.device.seen)
    before.require_done(acknowledged)
    broker.start()
    before.require_healed()
    caller = broker.connected()
    assert caller.turn(write=True) == 0
    assert caller.turn(write=False) == 0
    caller.disconnect()
    broker.stop()
    Evidence.of(broker.ledger).require_done([*acknowledged, *caller.done])


@pytest.mark.timeout(90)
def test_under_load_all_sessions_end_and_what_was_acknowledged_is_there(broker: Broker, strace: str) -> None:
    broker.start(fsync_fails(strace, GOOD_FSYNCS))
    callers = broker.load(CALLERS)
    for caller in callers:
        caller.join(30)
        assert not caller.is_alive(), "a session went on with a closed ledger"
    acknowledged = [digest for caller in callers for digest in caller.done]
    assert acknowledged
    assert {code for caller in callers for _, code in caller.refused} <= {FAULT}
    require_closed(broker)
    broker.end_by_sigterm()
    require_working_after_a_new_start(broker, acknowledged)


@pytest.mark.timeout(90)
def test_an_intent_that_cannot_be_made_durable_is_not_relayed(broker: Broker, strace: str) -> None:
    broker.start()
    caller = broker.connected()
    assert caller.turn(write=True) == 0
    seen = list(broker.device.seen)
    with injected(strace, broker.pid, "error=EIO"):
        require_fault_or_cut(caller)
        assert broker.device.seen == seen
    require_closed(broker)
    broker.end_by_sigterm()
    require_working_after_a_new_start(broker, caller.done)


@pytest.mark.timeout(90)
def test_a_write_whose_outcome_cannot_be_made_durable_is_no_success(broker: Broker, strace: str) -> None:
    broker.start()
    caller = broker.caller(write_every=1)
    broker.device.answering.clear()
    caller.start()
    until(lambda: broker.device.writes, 10, "the write reaches the device")
    time.sleep(0.1)  # the views' fsync that follows the opening of the session is over
    with injected(strace, broker.pid, "error=EIO"):
        broker.device.answering.set()
        caller.join(10)
        assert not caller.is_alive()
    assert caller.done == []
    assert [code for _, code in caller.refused] in ([], [FAULT])
    assert len(broker.device.writes) == 1
    require_closed(broker)
    broker.end_by_sigterm()
    require_working_after_a_new_start(broker, [])


@pytest.mark.timeout(90)
def test_a_ledger_that_nobody_seals_any_more_is_closed(broker: Broker) -> None:
    broker.start()
    caller = broker.connected()
    assert caller.turn(write=True) == 0
    (sealer,) = (pid for pid, _ in descendants(broker.pid) if "ledger_files_sealer" in command_of(pid))
    os.kill(sealer, signal.SIGKILL)
    until(lambda: broker.readiness()[0] == 503, 5, "readiness says so")
    require_fault_or_cut(caller)
    require_closed(broker)
    broker.end_by_sigterm()
    require_working_after_a_new_start(broker, caller.done)


def require_fault_or_cut(caller: Caller) -> None:
    """The next write is answered with exception 04, or the connection is cut before the answer."""
    pdu = caller.requests.write()
    try:
        assert caller.ask(pdu) == bytes((pdu[0] | 0x80, FAULT))
    except OSError:
        pass
    finally:
        caller.disconnect()
    assert digest_of(pdu) not in caller.done
