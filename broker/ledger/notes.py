"""C2SP signed notes (signed-note v1.0.0) with Ed25519 keys and cosignatures (tlog-cosignature v1.0.1)."""

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from broker.errors import IntegrityError
from broker.ledger.merkle import decode_base64

ED25519 = 0x01
COSIGNATURE = 0x04
LARGEST_NOTE = 64 * 1024
MOST_SIGNATURES = 64
KEY_OCTETS = 32
SIGNATURE_OCTETS = 64
LATEST_COSIGNING = 2**63 - 1
SIGNED_BY_OTHERS = "signed_by_others"
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_KEY_ID = re.compile(r"[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public key with its name and what it may sign: notes (`ED25519`) or cosignatures (`COSIGNATURE`)."""

    name: str
    algorithm: int
    key: bytes

    @property
    def key_id(self) -> bytes:
        """SHA-256(name || 0x0A || algorithm || key), first four octets."""
        return sha256(self.name.encode() + b"\n" + bytes([self.algorithm]) + self.key).digest()[:4]

    @property
    def vkey(self) -> str:
        """The text form: `name+hex(key id)+base64(algorithm || key)`."""
        encoded = base64.b64encode(bytes([self.algorithm]) + self.key).decode()
        return f"{self.name}+{self.key_id.hex()}+{encoded}"


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature that verified: whose, and for cosignatures when it was made (epoch seconds, else None)."""

    verifier: Verifier
    timestamp: int | None = None


def verifier_of(name: str, key: Ed25519PrivateKey, algorithm: int = ED25519) -> Verifier:
    """The verifier of a private key. Raises ValueError for a name that notes cannot carry."""
    _require_name(name)
    return Verifier(name, algorithm, key.public_key().public_bytes_raw())


def decode_vkey(text: str) -> Verifier:
    """Read a vkey (surrounding blanks allowed). Raises IntegrityError."""
    parts = text.strip().split("+", 2)
    if len(parts) != 3 or not _KEY_ID.fullmatch(parts[1]) or not _good_name(parts[0]):
        raise IntegrityError("key_malformed", "not a public key of the form name+id+key")
    octets = decode_base64(parts[2])
    if octets[0] not in (ED25519, COSIGNATURE) or len(octets) != 1 + KEY_OCTETS:
        raise IntegrityError("key_unsupported", "only Ed25519 keys and cosignature keys are understood")
    verifier = Verifier(parts[0], octets[0], octets[1:])
    if verifier.key_id.hex() != parts[1]:
        raise IntegrityError("key_malformed", "the key's id does not belong to it")
    return verifier


def sign_note(text: str, name: str, key: Ed25519PrivateKey) -> str:
    """A note with one signature. Raises ValueError for text that a note cannot carry."""
    return sign_note_as(verifier_of(name, key), text, key)


def sign_note_as(signer: Verifier, text: str, key: Ed25519PrivateKey) -> str:
    """The same by who has the key's verifier at hand; deriving it costs as much as signing."""
    if not text.endswith("\n") or _CONTROL.search(text):
        raise ValueError("a note's text ends with a newline and holds no other control character")
    return f"{text}\n{_signature_line(signer.name, signer.key_id + key.sign(text.encode()))}"


def cosign(text: str, name: str, key: Ed25519PrivateKey, timestamp: int) -> str:
    """A cosignature line for a checkpoint's text."""
    verifier = verifier_of(name, key, COSIGNATURE)
    signature = key.sign(_cosigned_message(text, timestamp))
    return _signature_line(name, verifier.key_id + timestamp.to_bytes(8, "big") + signature)


def verify_note(raw_note: str, verifiers: Iterable[Verifier]) -> tuple[str, tuple[Signature, ...]]:
    """The text and the signatures of known keys, at least one.

    Unknown keys are ignored. Raises IntegrityError if the note is malformed, if a known key's signature is wrong, or if
    none is by a known key.
    """
    text, lines = split_note(raw_note)
    known = {(verifier.name, verifier.key_id): verifier for verifier in verifiers}
    proven: list[Signature] = []
    for line in lines:
        name, blob = _decode_signature_line(line)
        verifier = known.get((name, blob[:4]))
        if verifier is not None and all(s.verifier is not verifier for s in proven):
            proven.append(_verify_signature(text, verifier, blob[4:]))
    if not proven:
        raise signed_by_others(raw_note, known.values())
    return text, tuple(proven)


def signed_by_others(raw_note: str, wanted: Iterable[Verifier]) -> IntegrityError:
    """Signatures are there, none by the names and keys that were asked for: most likely the wrong public key."""
    _, lines = split_note(raw_note)
    signers = ", ".join(dict.fromkeys(_decode_signature_line(line)[0] for line in lines))
    keys = ", ".join(f"{verifier.name}+{verifier.key_id.hex()}" for verifier in wanted)
    return IntegrityError(
        SIGNED_BY_OTHERS,
        "signed by nobody of this name and key: is this the right public key?",
        f"signed by {signers[:200]}, not by {keys}",
    )


def split_note(raw_note: str) -> tuple[str, list[str]]:
    """The text and the signature lines, nothing of it proven. Raises IntegrityError."""
    if len(raw_note) > LARGEST_NOTE or _CONTROL.search(raw_note):
        raise IntegrityError("note_malformed", "the note is too long or holds control characters")
    at = raw_note.rfind("\n\n")
    if at < 0 or not raw_note.endswith("\n"):
        raise IntegrityError("note_malformed", "the note has no signature part")
    lines = raw_note[at + 2 : -1].split("\n")
    if len(lines) > MOST_SIGNATURES or not all(line.startswith("\u2014 ") for line in lines):
        raise IntegrityError("note_malformed", "the note's signature part is not one of signature lines")
    return raw_note[: at + 1], lines


def _decode_signature_line(line: str) -> tuple[str, bytes]:
    name, separator, encoded = line[2:].partition(" ")
    if not separator or not _good_name(name):
        raise IntegrityError("note_malformed", "a signature line names no key")
    blob = decode_base64(encoded)
    if len(blob) < 5:
        raise IntegrityError("note_malformed", "a signature line holds no signature")
    return name, blob


def _verify_signature(text: str, verifier: Verifier, blob: bytes) -> Signature:
    timestamp, message = None, text.encode()
    if verifier.algorithm == COSIGNATURE:
        timestamp, blob = int.from_bytes(blob[:8], "big"), blob[8:]
        message = _cosigned_message(text, timestamp)
    try:
        if len(blob) != SIGNATURE_OCTETS or (timestamp or 0) > LATEST_COSIGNING:
            raise InvalidSignature
        Ed25519PublicKey.from_public_bytes(verifier.key).verify(blob, message)
    except (InvalidSignature, ValueError):
        raise IntegrityError("signature_wrong", "a known key's signature is wrong", verifier.name) from None
    return Signature(verifier, timestamp)


def _cosigned_message(text: str, timestamp: int) -> bytes:
    return f"cosignature/v1\ntime {timestamp}\n{text}".encode()


def _signature_line(name: str, blob: bytes) -> str:
    return f"\u2014 {name} {base64.b64encode(blob).decode()}\n"


def _good_name(name: str) -> bool:
    return bool(name) and "+" not in name and not any(c.isspace() for c in name) and not _CONTROL.search(name)


def _require_name(name: str) -> None:
    if not _good_name(name):
        raise ValueError("a key's name is not empty and holds neither blanks nor '+'")
