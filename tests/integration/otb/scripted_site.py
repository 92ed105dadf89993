"""The broker's end of a BACnet tunnel, scripted octet by octet: a router to network 2001 with one device, 1001."""

from broker.engine.rate import Rate
from broker.listeners.bacnet_shares import DATAGRAMS_PER_SECOND

DEVICE_MAC = bytes.fromhex("0003e9")
NETWORK = 2001
ALL = b"\xff" * 6
SOURCE = NETWORK.to_bytes(2, "big") + bytes((len(DEVICE_MAC),)) + DEVICE_MAC
I_AM = bytes.fromhex("1000 c4020003e9 2205c4 9103 210f")
"""Unconfirmed, I-Am: device 1001, 1476 octets, no segmentation, vendor 15."""
REAL_21_5 = bytes.fromhex("4441ac0000")


class ScriptedSite:
    """Answers Who-Is, Who-Is-Router-To-Network, ReadProperty (21.5) and WriteProperty; keeps everything else."""

    def __init__(self, calls):
        self.write, self.close, self.denied, self.ended = (
            calls[name] for name in ("write", "close", "denied", "ended")
        )
        self.rate = Rate(DATAGRAMS_PER_SECOND)
        self.heard = []
        self.written = []
        self.lost_for = None

    def start(self, opened):
        opened(None)

    def received(self, mac, npdu):
        self.heard.append((mac, npdu))
        control, rest = npdu[1], npdu[2:]
        if control & 0x20:
            length = rest[2]
            assert rest[:2] in (b"\xff\xff", NETWORK.to_bytes(2, "big"))
            rest = rest[3 + length :]
        if control & 0x08:
            rest = rest[3 + rest[2] :]
        if control & 0x20:
            rest = rest[1:]
        if control & 0x80:
            if rest[0] == 0x00:
                self.write(ALL, b"\x01\x80\x01" + NETWORK.to_bytes(2, "big"))
        elif rest[:2] == b"\x10\x08":
            self.write(ALL, b"\x01\x08" + SOURCE + I_AM)
        elif rest[0] & 0xF0 == 0x00:
            self._confirmed(mac, rest[2], rest[3], rest[4:])

    def _confirmed(self, mac, invoke, service, parameters):
        head = b"\x01\x08" + SOURCE
        if service == 0x0C:
            ack = bytes((0x30, invoke, service)) + parameters + b"\x3e" + REAL_21_5 + b"\x3f"
            self.write(mac, head + ack)
        elif service == 0x0F:
            self.written.append(parameters)
            self.write(mac, head + bytes((0x20, invoke, service)))

    def renew(self, subject):
        pass

    def lost(self, reason):
        self.lost_for = reason
