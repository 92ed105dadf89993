"""All the ways of one subject to one device at once, each watched for the moment of its end."""

import threading
import time
from contextlib import ExitStack
from types import TracebackType

import aiohttp

from tests.end_to_end.development import Answer, ApiCaller, Development, Persona, until
from tests.end_to_end.event_stream import EventStream
from tests.end_to_end.modbus_caller import ModbusCaller, write_register
from tests.end_to_end.tunnel_caller import PROTOCOL, TunnelCaller

DEVICE = "plant/ahu-1"
POINT, SETPOINT = {"supply-temp-setpoint": 19}, write_register(10, 190)
MODBUS, TUNNEL, API, STREAM = "modbus_tls", "tunnel", "https", "event stream"
BUSY = bytes((SETPOINT[0] | 0x80, 6))
PATHS = (MODBUS, TUNNEL, API, STREAM)
TURN_SECONDS = 0.04
HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Protocol": PROTOCOL,
}


class Ways:
    """A Modbus TLS connection, a tunnel, API calls on a kept connection, and a stream of the first one's events."""

    def __init__(self, development: Development, who: str | Persona = "vendor-ana", token: str = "") -> None:
        self._development = development
        self._who = who
        self._token = token or development.token(str(who))
        self._stack = ExitStack()
        self._calls_ended = 0.0
        self._modbus_ended = 0.0
        self._refused: Answer | None = None
        self._over = threading.Event()

    def __enter__(self) -> "Ways":
        enter, development = self._stack.enter_context, self._development
        self.modbus = enter(development.modbus(self._who))
        reply = _asked(self.modbus)
        assert reply == SETPOINT, (reply, development.records("decision", "session_opened")[-3:])
        self.tunnel = enter(TunnelCaller(development, self._who, DEVICE, self._token))
        reply = _asked(self.tunnel)
        assert reply == SETPOINT, (reply, self.tunnel.told)
        self._api = enter(self._caller().kept())
        while (answer := self._write(self._api)).body.get("code") == "not_sent":
            pass
        assert answer.status == 200, answer
        peer = f"127.0.0.1:{self.modbus.local_port}"
        self.sessions = {MODBUS: str(development.eventually("session_opened", peer=peer)["session"])}
        for listener in (TUNNEL, API):
            self.sessions[listener] = str(development.records("session_opened", listener=listener)[-1]["session"])
        self._events = f"/v1/sessions/{self.sessions[MODBUS]}/events"
        self.stream = enter(EventStream(development, self._who, self._events, self._token))
        for look in (self._call, self._listen):
            threading.Thread(target=look, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        self._stack.__exit__(kind, error, traceback)

    def cut(self, path: str, seconds: float = 15.0) -> tuple[float, str]:
        """When (monotonic) one way was cut, or a call through it refused, waited for; and what its caller was told."""
        if path == STREAM:
            return self.stream.ended(seconds), self.stream.reason
        if path == TUNNEL:
            return self.tunnel.ended(seconds), self.tunnel.tells("ending")["reason"]
        if path == MODBUS:
            return until(lambda: self._modbus_ended, seconds, "Modbus goes on"), ""
        at = until(lambda: self._calls_ended, seconds, "the API goes on")
        return at, "" if self._refused is None else _words(self._refused)

    def recorded(self, path: str) -> str:
        """The reason that the ledger has for the end of one way; a stream tells its watcher the same."""
        if path == STREAM:
            what = f"watch session {self.sessions[MODBUS]}"
            recorded = str(self._development.eventually("watching_ended", what=what)["reason"])
            assert self.stream.reason == recorded
            return recorded
        return str(self._development.eventually("session_closed", session=self.sessions[path])["reason"])

    def goes_on(self, path: str) -> bool:
        """Whether a way is still open."""
        return {
            MODBUS: not self._modbus_ended,
            TUNNEL: not self.tunnel.closed_at,
            API: not self._calls_ended,
            STREAM: not self.stream.closed_at,
        }[path]

    def again(self, path: str) -> str:
        """What who tries the same way again is told: code and sentence of the refusal, or what his own TLS says of the
        alert; "" if he is let in as before.
        """
        try:
            if path == MODBUS:
                return self._modbus_again()
            if path == TUNNEL:
                return self._tunnel_again()
            answer = self._caller().get(self._events) if path == STREAM else self._write(self._caller())
        except OSError as error:
            return str(error).lower()
        return "" if answer.status == 200 else _words(answer)

    def _modbus_again(self) -> str:
        with self._development.modbus(self._who) as caller:
            reply = _asked(caller)
        return "" if reply == SETPOINT else f"exception {reply[1]:02}"

    def _tunnel_again(self) -> str:
        try:
            with TunnelCaller(self._development, self._who, DEVICE, self._token) as tunnel:
                if _asked(tunnel) == SETPOINT:
                    return ""
                told = tunnel.tells("denied")["reasons"][0]
                return f"{told['code']}: {told['text']}"
        except aiohttp.WSServerHandshakeError:
            return _words(self._caller().get(f"/v1/devices/{DEVICE}/tunnel", headers=HANDSHAKE))

    def _caller(self) -> ApiCaller:
        return self._development.api(self._who, self._token)

    @staticmethod
    def _write(caller: ApiCaller) -> Answer:
        return caller.write(DEVICE, POINT)

    def _call(self) -> None:
        """Write again and again until that is refused."""
        while not self._over.is_set():
            try:
                answer = self._write(self._api)
            except OSError:
                self._calls_ended = time.monotonic()
                return
            if answer.body.get("code") == "not_sent":
                continue  # allowed, and something changed just then: what changed is told to the next
            if answer.status != 200:
                self._refused = answer
                self._calls_ended = time.monotonic()
                return
            self._over.wait(TURN_SECONDS)

    def _listen(self) -> None:
        """Wait until the Modbus connection is cut."""
        try:
            self.modbus.closed_within(30)
        except (AssertionError, OSError, ValueError):
            return
        self._modbus_ended = time.monotonic()


def _asked(caller: ModbusCaller | TunnelCaller) -> bytes:
    """The answer to a write, asked for again while something from before is just coming into force."""
    while (reply := caller.ask(SETPOINT)) == BUSY:
        pass
    return reply


def _words(answer: Answer) -> str:
    """What a person reads of a refusal: codes, sentences, and what to do."""
    reasons = [f"{reason['code']}: {reason['text']}" for reason in answer.body.get("reasons", ())]
    return "; ".join([answer.body["code"], answer.body.get("detail", ""), *reasons])
