"""What an authority asks two people for: `--propose FILE` says what would be done, `--warrant FILE` lets it be done.

An authority that has `approvers` (public keys of brokers' ledgers, one a line) issues, rotates and signs only with a
warrant of one of these brokers for exactly these parameters. Revoking and publishing lists only take away, and need
none.
"""

import argparse
import json
from base64 import urlsafe_b64encode
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from broker.adapters.authority.register import RegisterFile, Warranted
from broker.adapters.private_files import write_public
from broker.errors import BrokerError, ConfigError, IntegrityError
from broker.identity.issuance import PublicKey
from broker.ledger.approvals import verify
from broker.ledger.notes import Verifier, decode_vkey
from broker.model.proposal import WARRANT_NEEDED, Parameters, ProposalAct, Warrant

APPROVERS = "approvers"
REGISTER = "register"
_LARGEST_NOTE = 65_536


def add_two_person(command: argparse.ArgumentParser) -> None:
    """Add the options of a command that may take two people."""
    how = command.add_mutually_exclusive_group()
    how.add_argument(
        "--propose", type=Path, metavar="FILE", help="do nothing; write what would be done, for `otb proposals create`"
    )
    how.add_argument("--warrant", type=Path, metavar="FILE", help="of an approved proposal (`otb proposals warrant`)")


def exactly(folder: Path, root: x509.Certificate, register: RegisterFile, **told: object) -> Parameters:
    """The parameters of an act of the authority in that folder, below or with the key of that root.

    Its register, in which a warrant is used up, is among them: a warrant must not count once more elsewhere.
    """
    named = {name: "" if value is None else str(value) for name, value in told.items()}
    kind = "issuing" if (folder / "ca.json").exists() else "root"
    named |= {"authority": digest(root.public_bytes(Encoding.DER)), REGISTER: f"{kind} {register.identity}"}
    return tuple(sorted(named.items()))


def digest(octets: bytes) -> str:
    """SHA-256, base64url without padding."""
    return urlsafe_b64encode(sha256(octets).digest()).rstrip(b"=").decode()


def key_digest(key: PublicKey) -> str:
    """That of a public key (SubjectPublicKeyInfo)."""
    return digest(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def read_approvers(folder: Path) -> tuple[Verifier, ...]:
    """The keys of the brokers whose warrants an authority asks for; none: it asks for none. Raises BrokerError."""
    try:
        lines = (folder / APPROVERS).read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        return ()
    return tuple(decode_vkey(line) for line in lines if line.strip())


def only_proposed(arguments: argparse.Namespace, act: ProposalAct, parameters: Parameters) -> bool:
    """Whether the command was only to say what it would do, and has."""
    if arguments.propose is None:
        return False
    document = {"act": act.value, "parameters": dict(parameters)}
    write_public(arguments.propose, json.dumps(document, indent=2, sort_keys=True).encode() + b"\n")
    return True


def told_of_warrant(folder: Path, arguments: argparse.Namespace) -> dict[str, str]:
    """For the ledger: that the act takes a warrant, and which it is given if that is good. Raises BrokerError, OSError.

    Whether it is for just this `use_warrant` finds out, which lets nothing be done that it refuses.
    """
    approvers = read_approvers(folder)
    if not approvers or not hasattr(arguments, "warrant") or arguments.propose or getattr(arguments, "request", None):
        return {}
    told = {"warrant": WARRANT_NEEDED}
    if arguments.warrant is not None:
        with suppress(BrokerError):
            warrant = verify(Warrant, _text(arguments.warrant), approvers)
            told |= {"proposal": warrant.proposal, "broker": warrant.broker}
    return told


def use_warrant(
    folder: Path,
    register: RegisterFile,
    arguments: argparse.Namespace,
    act: ProposalAct,
    parameters: Parameters,
    now: float,
) -> None:
    """Go on only with a warrant, if the authority asks for one; it is used up, durably. Raises BrokerError."""
    approvers = read_approvers(folder)
    if not approvers:
        return
    if arguments.warrant is None:
        hint = "write it with --propose FILE, have it approved (`otb proposals`), and give its --warrant FILE"
        raise ConfigError("warrant_missing", "This authority does this only when two people want it.", hint)
    warrant = verify(Warrant, _text(arguments.warrant), approvers)
    approved, wanted = dict(warrant.parameters), dict(parameters)
    if approved.get(REGISTER, wanted[REGISTER]) != wanted[REGISTER]:
        raise _refused("it is for another authority", f"{approved[REGISTER]}, not {wanted[REGISTER]}")
    if (warrant.act, warrant.parameters) != (act, parameters):
        differing = sorted({name for name, _ in {*warrant.parameters} ^ {*parameters}}) or ["the act"]
        raise _refused("it is for something else", ", ".join(differing))
    if not warrant.at - 300 <= now < warrant.until:
        raise _refused("it has run out")
    used = {entry.proposal for entry in register.entries if isinstance(entry, Warranted)}
    if warrant.proposal in used:
        raise _refused("it has been used", warrant.proposal)
    register.append(Warranted(now, warrant.proposal, act.value, ", ".join(warrant.approved_by)))


def set_approvers(folder: Path, keys: tuple[str, ...]) -> None:
    """From now on ask for warrants of these brokers; none: for none."""
    write_public(folder / APPROVERS, "".join(f"{key}\n" for key in keys).encode())


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST_NOTE).decode()
    except OSError as error:
        raise ConfigError("file_unreadable", f"{path} cannot be read.", error.strerror or "") from None
    except UnicodeDecodeError:
        raise IntegrityError("warrant_malformed", "the file is no warrant", str(path)) from None


def _refused(why: str, detail: str = "") -> IntegrityError:
    return IntegrityError("warrant_refused", f"The warrant counts for nothing here: {why}.", detail)
