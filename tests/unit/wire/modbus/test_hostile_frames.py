"""Frames that lenient decoders accept are refused here, with the code that names the exception to the caller."""

import pytest

from broker.errors import FrameError
from broker.wire.modbus.pdu import decode_reply, decode_request

VALUE, FUNCTION = "illegal_value", "illegal_function"

REQUESTS = [
    ("", VALUE, "empty"),
    ("00", FUNCTION, "function 0"),
    ("8300000001", FUNCTION, "the exception bit set"),
    ("0900", FUNCTION, "function 9"),
    ("5a0000", FUNCTION, "a vendor's function"),
    # functions 1 to 4
    ("01 0000 0000", VALUE, "no coils"),
    ("01 0000 07d1", VALUE, "2001 coils"),
    ("01 ffff 0002", VALUE, "coils beyond 65535"),
    ("02 0000 ffff", VALUE, "65535 inputs"),
    ("03 0000 0000", VALUE, "no registers"),
    ("03 0000 007e", VALUE, "126 registers"),
    ("03 ffff 0002", VALUE, "registers beyond 65535"),
    ("03 ff84 007d", VALUE, "the last of 125 registers is 65536"),
    ("03 0000 00", VALUE, "cut short"),
    ("03 0000 0001 00", VALUE, "a trailing octet"),
    ("03 0000 0001 06 0000 ffff", VALUE, "a write behind a read"),
    ("03 0000 0001 0002 0000 0006 01 06 0000 ffff", VALUE, "a whole frame behind a read"),
    ("04 0000 007e", VALUE, "126 input registers"),
    # function 5
    ("05 0000 1234", VALUE, "a coil that is 0x1234"),
    ("05 0000 0001", VALUE, "a coil that is 0x0001"),
    ("05 0000 ff01", VALUE, "a coil that is 0xFF01"),
    ("05 0000 00ff", VALUE, "a coil that is 0x00FF"),
    ("05 0000 ff00 00", VALUE, "a trailing octet"),
    # function 6
    ("06 0000 00", VALUE, "cut short"),
    ("06 0000 0001 0002", VALUE, "two values"),
    # functions 7, 11, 12, 17
    ("07 00", VALUE, "octets behind read exception status"),
    ("0b 00", VALUE, "octets behind get comm event counter"),
    ("0c 00", VALUE, "octets behind get comm event log"),
    ("11 00", VALUE, "octets behind report server id"),
    # function 8
    ("08", VALUE, "no sub-function"),
    ("08 00", VALUE, "half a sub-function"),
    ("08 0000", VALUE, "query without data"),
    ("08 0000 00", VALUE, "query with half a word"),
    ("08 0001 0001", VALUE, "restart with 1"),
    ("08 0001 ff00 00", VALUE, "restart with a trailing octet"),
    ("08 0002 0001", VALUE, "diagnostic register with data"),
    ("08 0003 3b01", VALUE, "a delimiter of two octets"),
    ("08 0004 0001", VALUE, "listen only with data"),
    ("08 000a 0001", VALUE, "clear counters with data"),
    ("08 000b 0000 0000", VALUE, "a counter with two words"),
    ("08 0014 ffff", VALUE, "clear overrun with data"),
    ("08 0005 0000", FUNCTION, "sub-function 5"),
    ("08 0013 0000", FUNCTION, "sub-function 19"),
    ("08 0015 0003", FUNCTION, "Modbus Plus statistics"),
    ("08 ffff 0000", FUNCTION, "sub-function 65535"),
    # function 15
    ("0f 0000 0000 00", VALUE, "no coils"),
    ("0f 0000 0001", VALUE, "no byte count"),
    ("0f 0000 0001 02 0100", VALUE, "two octets for one coil"),
    ("0f 0000 0009 01 ff", VALUE, "one octet for nine coils"),
    ("0f 0000 0008 02 ff", VALUE, "a byte count of two with one octet"),
    ("0f 0000 0008 01 ff00", VALUE, "a trailing octet"),
    ("0f 0000 0003 01 0f", VALUE, "padding that is not zero"),
    ("0f 0000 0001 01 80", VALUE, "padding that is not zero"),
    ("0f ffff 0002 01 03", VALUE, "coils beyond 65535"),
    ("0f 0000 07b1 f7" + "00" * 247, VALUE, "1969 coils"),
    # function 16
    ("10 0000 0000 00", VALUE, "no registers"),
    ("10 0000 0001", VALUE, "no byte count"),
    ("10 0000 0002 02 0001", VALUE, "count of two, byte count and data of one"),
    ("10 0000 0001 04 00010002", VALUE, "count of one, byte count and data of two"),
    ("10 0000 0001 04 0001", VALUE, "a byte count of two registers for one"),
    ("10 0000 0001 02 0001 0002", VALUE, "a second register behind the first"),
    ("10 0000 0001 01 00", VALUE, "half a register"),
    ("10 ffff 0002 04 00000000", VALUE, "registers beyond 65535"),
    ("10 0000 007c f8" + "00" * 248, VALUE, "124 registers"),
    ("10 0000 0080 00", VALUE, "a count whose byte count overflows to zero"),
    # function 20
    ("14", VALUE, "no byte count"),
    ("14 00", VALUE, "no sub-request"),
    ("14 07 06 0001 0000", VALUE, "a sub-request cut short"),
    ("14 08 06 0001 0000 0001 00", VALUE, "a byte count that is no multiple of 7"),
    ("14 07 05 0001 0000 0001", VALUE, "reference type 5"),
    ("14 07 06 0000 0000 0001", VALUE, "file 0"),
    ("14 07 06 0001 2710 0001", VALUE, "record 10000"),
    ("14 07 06 0001 270f 0002", VALUE, "two records from 9999"),
    ("14 07 06 0001 0000 0000", VALUE, "no records"),
    ("14 07 06 0001 0000 007a", VALUE, "a reply that would not fit"),
    ("14 0e 06 0001 0000 003d 06 0001 0000 003d", VALUE, "replies that would not fit together"),
    ("14 0e 06 0001 0000 0001", VALUE, "a byte count of two sub-requests for one"),
    ("14 07 06 0001 0000 0001 06 0001 0000 0001", VALUE, "a second sub-request behind the first"),
    # function 21
    ("15 00", VALUE, "no sub-request"),
    ("15 07 06 0001 0000 0000", VALUE, "no records"),
    ("15 09 06 0001 0000 0002 0001", VALUE, "two records announced, one there"),
    ("15 0b 06 0001 0000 0001 0001 0002", VALUE, "one record announced, two there"),
    ("15 09 07 0001 0000 0001 0001", VALUE, "reference type 7"),
    ("15 09 06 0000 0000 0001 0001", VALUE, "file 0"),
    ("15 09 06 0001 2710 0001 0001", VALUE, "record 10000"),
    ("15 0b 06 0001 270f 0002 00010002", VALUE, "two records from 9999"),
    ("15 09 06 0001 0000 0001 0001 00", VALUE, "a trailing octet"),
    ("15 0b 06 0001 0000 0001 0001", VALUE, "a byte count beyond the end"),
    # function 22
    ("16 0000 ffff", VALUE, "one mask"),
    ("16 0000 ffff 0000 00", VALUE, "a trailing octet"),
    # function 23
    ("17 0000 0000 0000 0001 02 0001", VALUE, "nothing to read"),
    ("17 0000 007e 0000 0001 02 0001", VALUE, "126 registers to read"),
    ("17 ffff 0002 0000 0001 02 0001", VALUE, "read beyond 65535"),
    ("17 0000 0001 0000 0000 00", VALUE, "nothing to write"),
    ("17 0000 0001 ffff 0002 04 00000000", VALUE, "write beyond 65535"),
    ("17 0000 0001 0000 007a f4" + "00" * 244, VALUE, "122 registers to write"),
    ("17 0000 0001 0000 0001 04 0001 0002", VALUE, "a byte count of two registers for one"),
    ("17 0000 0001 0000 0002 02 0001", VALUE, "a byte count of one register for two"),
    ("17 0000 0001 0000 0001 02 0001 00", VALUE, "a trailing octet"),
    ("17 0000 0001 0000", VALUE, "cut short"),
    # function 24
    ("18 00", VALUE, "cut short"),
    ("18 0000 00", VALUE, "a trailing octet"),
    # function 43
    ("2b", VALUE, "no MEI type"),
    ("2b 0d 00", FUNCTION, "CANopen"),
    ("2b 0f 01 00", FUNCTION, "MEI type 15"),
    ("2b 0e 01", VALUE, "cut short"),
    ("2b 0e 00 00", VALUE, "read device id code 0"),
    ("2b 0e 05 00", VALUE, "read device id code 5"),
    ("2b 0e 01 00 00", VALUE, "a trailing octet"),
]


@pytest.mark.parametrize(("pdu", "code", "what"), REQUESTS, ids=[f"{r[0][:24]} {r[2]}" for r in REQUESTS])
def test_a_hostile_request_is_refused(pdu, code, what):
    with pytest.raises(FrameError) as refused:
        decode_request(bytes.fromhex(pdu.replace(" ", "")))
    assert refused.value.code == code


READ_COILS, READ, WRITE, WRITE_COIL = "01 0000 0003", "03 000a 0002", "06 000a 0001", "05 0000 ff00"
WRITE_COILS, WRITE_MANY, MASK = "0f 0000 0003 01 05", "10 000a 0001 02 0001", "16 000a fffe 0001"
FILE, FILE_WRITE = "14 07 06 0001 0000 0002", "15 09 06 0001 0000 0001 0001"
BASIC, ONE = "2b 0e 01 00", "2b 0e 04 01"

REPLIES = [
    (READ, "", "empty"),
    (READ, "03", "cut short"),
    (READ, "03 04 0001", "a register less than the byte count"),
    (READ, "03 02 0001", "a register less than asked for"),
    (READ, "03 06 000100020003", "a register more than asked for"),
    (READ, "03 04 00010002 00", "a trailing octet"),
    (READ, "03 06 00010002", "a byte count too high"),
    (READ, "04 04 00010002", "another function"),
    (READ, "84 02", "the exception of another function"),
    (READ, "83", "an exception without code"),
    (READ, "83 00", "exception 0"),
    (READ, "83 07", "exception 7"),
    (READ, "83 09", "exception 9"),
    (READ, "83 02 00", "an octet behind an exception"),
    (READ_COILS, "01 01 0f", "padding that is not zero"),
    (READ_COILS, "01 02 0500", "an octet of bits too many"),
    (WRITE, "06 000a 0002", "another value"),
    (WRITE, "06 000b 0001", "another address"),
    (WRITE, "06 000a 0001 00", "a trailing octet"),
    (WRITE_COIL, "05 0000 0000", "another state"),
    (WRITE_COIL, "05 0000 ff01", "a state that is none"),
    (WRITE_COILS, "0f 0000 0002", "another quantity"),
    (WRITE_COILS, "0f 0001 0003", "another address"),
    (WRITE_MANY, "10 000a 0002", "another quantity"),
    (WRITE_MANY, "10 000a 0001 00", "a trailing octet"),
    (MASK, "16 000a fffe 0000", "another mask"),
    ("07", "07 00 00", "two octets of outputs"),
    ("08 0000 a537", "08 0000 a538", "query data changed"),
    ("08 0000 a537", "08 0000 a5370000", "query data longer"),
    ("08 000b 0000", "08 000c 0001", "another counter"),
    ("08 000b 0000", "08 000b 000100", "a counter of three octets"),
    ("08 000a 0000", "08 000a 0001", "clear counters not repeated"),
    ("08 0004 0000", "08 0004 0000", "a reply to force listen only"),
    ("0b", "0b 0001 0000", "a status that is neither"),
    ("0c", "0c 05 0000 0000 00", "a byte count below six"),
    ("0c", "0c 07 0000 0001 0001", "an event less than the byte count"),
    ("0c", "0c 47 0000 0001 0001" + "00" * 65, "65 events"),
    ("11", "11 00", "an empty server id"),
    ("11", "11 02 ff", "a server id cut short"),
    ("11", "11 01 ff00", "an octet behind the server id"),
    (FILE, "14 06 05 06 0001", "records cut short"),
    (FILE, "14 06 05 07 00010002", "reference type 7"),
    (FILE, "14 06 03 06 00010002", "a length of one record for two"),
    (FILE, "14 05 05 06 00010002", "a byte count too low"),
    (FILE, "14 06 05 06 00010002 00", "a trailing octet"),
    (FILE_WRITE, "15 09 06 0001 0000 0001 0002", "other contents"),
    ("17 0000 0001 0000 0001 02 0001", "17 04 00010002", "a register more than asked for"),
    ("18 0000", "18 0004 0002 0001", "a queue count too high"),
    ("18 0000", "18 0006 0001 0001", "a byte count too high"),
    ("18 0000", "18 0042 0020" + "0000" * 32, "32 registers queued"),
    ("18 0000", "18 0000", "cut short"),
    (BASIC, "2b 0e 01 01 00 00 00 41", "no objects, yet an octet"),
    (BASIC, "2b 0d 01 01 00 00 01 00 01 41", "another MEI type"),
    (BASIC, "2b 0e 02 01 00 00 01 00 01 41", "another code"),
    (BASIC, "2b 0e 01 04 00 00 01 00 01 41", "conformity level 4"),
    (BASIC, "2b 0e 01 01 01 00 01 00 01 41", "more follows 1"),
    (BASIC, "2b 0e 01 01 00 03 01 00 01 41", "nothing follows, yet a next object"),
    (BASIC, "2b 0e 01 01 00 00 02 00 01 41", "an object less than announced"),
    (BASIC, "2b 0e 01 01 00 00 01 00 05 41", "an object cut short"),
    (BASIC, "2b 0e 01 01 00 00 01 00 01 41 00", "a trailing octet"),
    (ONE, "2b 0e 04 81 00 00 01 02 01 41", "another object than asked for"),
    (ONE, "2b 0e 04 81 00 00 02 01 01 41 02 01 41", "two objects for one"),
    (ONE, "2b 0e 04 81 00 00 00", "no object for one"),
]


@pytest.mark.parametrize(("request_pdu", "pdu", "what"), REPLIES, ids=[f"{r[1][:24]} {r[2]}" for r in REPLIES])
def test_a_hostile_reply_is_refused(request_pdu, pdu, what):
    request = decode_request(bytes.fromhex(request_pdu.replace(" ", "")))
    with pytest.raises(FrameError):
        decode_reply(request, bytes.fromhex(pdu.replace(" ", "")))
