"""`otbroker ca …`: the built-in certification authority. Works on its folder; brokers read what it publishes there."""

import argparse
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from broker.adapters.authority.certificates import PrivateKey, make_key
from broker.adapters.authority.folder import AuthorityFolder, KeyFacts
from broker.adapters.authority.register import Issued, RegisterFile, locked
from broker.adapters.authority.root import REASONS, Root, create_root, read_certificate
from broker.adapters.authority.rotation import create_folder, request_authority, take_authority, take_root_list
from broker.adapters.authority.standing import standing
from broker.adapters.development_ca import encode_key
from broker.adapters.private_files import write_private, write_public
from broker.cli.ca_revoking import add_revoke_arguments, revoke
from broker.cli.ca_telling import telling
from broker.cli.ca_warrants import (
    add_two_person,
    digest,
    exactly,
    key_digest,
    only_proposed,
    read_approvers,
    set_approvers,
    use_warrant,
)
from broker.cli.ca_words import print_standing, tell
from broker.cli.passphrases import GivenSecrets
from broker.errors import ConfigError
from broker.identity.issuance import PROFILES, decode_request, decode_terms, public_key_of, verify_request
from broker.ledger.notes import decode_vkey
from broker.model.proposal import ProposalAct

Subparsers = Any  # argparse names its own type privately
_DURATION = re.compile(r"([1-9]\d{0,4})([smhd])", re.ASCII)
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_LARGEST_FILE = 1024 * 1024
_FOLDER_HELP = "folder of the authority"


def add_ca_commands(subparsers: Subparsers) -> None:
    """Add `ca` and what belongs to it; each sets `run`, a function of the parsed arguments with the exit status."""
    ca = subparsers.add_parser("ca", help="the built-in certification authority")
    commands = ca.add_subparsers(dest="ca_command", required=True, metavar="COMMAND")
    _add_init(commands)
    _add_issue(commands)
    _add_revoke(commands)
    crl = _command(commands, "crl", _crl, "publish fresh revocation lists of all issuing authorities")
    crl.add_argument("--root-crl", metavar="FILE", help="take in this newer list of the root too")
    _add_rotate(commands)
    _add_approvers(commands)
    _add_root_commands(commands)
    _command(commands, "status", _status, "what ends when, and what to do next; exit status 1 if it is overdue")


def _command(
    commands: Subparsers, name: str, run: Callable[[argparse.Namespace], int], text: str, root: bool = False
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder of the root" if root else _FOLDER_HELP)
    parser.add_argument("--format", choices=("text", "json"), default="text")
    parser.set_defaults(run=_reporting(run))
    if name not in {"status", "approvers"} and not root:
        parser.add_argument("--passphrase-file", metavar="FILE", help="of the issuing keys (default: asked for)")
        parser.add_argument("--pin-file", metavar="FILE", help="of the token that holds the key (default: asked for)")
    if root or name in {"init", "rotate"}:
        parser.add_argument("--root-passphrase-file", metavar="FILE", help="of the root's key (default: asked for)")
    return parser


def _reporting(run: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """The same command, with files that cannot be used as a sentence."""

    def reporting(arguments: argparse.Namespace) -> int:
        try:
            with telling(arguments):
                return run(arguments)
        except OSError as error:
            why = f"{error.filename or ''}: {error.strerror}".removeprefix(": ")
            raise ConfigError("file_unusable", "A file of the authority cannot be used.", why) from None

    return reporting


def _add_init(commands: Subparsers) -> None:
    init = _command(commands, "init", _init, "make a root and its first issuing authority")
    init.add_argument("--organisation", required=True, metavar="ID", help="whose authority it is")
    init.add_argument(
        "--namespace",
        required=True,
        action="append",
        metavar="PATTERN",
        help="names it may give, as in the inventory: *@mail.domain, spiffe://domain/*, *.dns.domain; repeatable",
    )
    init.add_argument("--root", type=Path, metavar="DIR", help="folder of the root (default: root, inside)")
    init.add_argument("--crl-lifetime", type=_duration, default=_duration("7d"), metavar="N[smhd]", help="default: 7d")
    _add_token(init)


def _add_issue(commands: Subparsers) -> None:
    issue = _command(commands, "issue", _issue, "issue a certificate, for a request or with a new key")
    issue.add_argument("--profile", required=True, choices=tuple(PROFILES))
    issue.add_argument("--name", action="append", required=True, help="mailbox, SPIFFE id or DNS name")
    issue.add_argument("--address", action="append", default=[], metavar="IP", help="of a server; repeatable")
    issue.add_argument("--modbus-role", metavar="ROLE")
    issue.add_argument(
        "--lifetime", type=_duration, metavar="N[smhd]", help="shorter or longer than the profile has it"
    )
    key = issue.add_mutually_exclusive_group(required=True)
    key.add_argument("--csr", type=Path, metavar="FILE", help="request, PEM or DER")
    key.add_argument("--key-out", type=Path, metavar="FILE", help="make a key and write it here, without passphrase")
    issue.add_argument("--out", type=Path, required=True, metavar="FILE", help="certificate and chain, PEM")
    add_two_person(issue)


def _add_revoke(commands: Subparsers) -> None:
    text = "revoke a certificate with what was renewed from it, or all of a name, and publish the list"
    add_revoke_arguments(_command(commands, "revoke", _revoke, text))


def _add_rotate(commands: Subparsers) -> None:
    rotate = _command(commands, "rotate", _rotate, "put a new issuing authority beside the one in use")
    how = rotate.add_mutually_exclusive_group(required=True)
    how.add_argument("--root", type=Path, metavar="DIR", help="the root's folder is at hand: do everything")
    how.add_argument("--request", type=Path, metavar="FILE", help="make the key and write the request for the root")
    how.add_argument("--certificate", type=Path, metavar="FILE", help="take in the root's answer")
    rotate.add_argument(
        "--issue-after",
        type=_duration,
        default=_duration("1h"),
        metavar="N[smhd]",
        help="it issues once every broker has fetched its list (default: 1h)",
    )
    _add_token(rotate)
    add_two_person(rotate)


def _add_root_commands(commands: Subparsers) -> None:
    sign = _command(commands, "sign", _sign, "offline: the root signs a new issuing authority", root=True)
    sign.add_argument("--csr", type=Path, required=True, metavar="FILE", help="as `ca rotate --request` wrote it")
    sign.add_argument("--out", type=Path, required=True, metavar="FILE")
    add_two_person(sign)
    root_crl = _command(commands, "root-crl", _root_crl, "offline: the root's next revocation list", root=True)
    root_crl.add_argument("--revoke", metavar="SERIAL", help="revoke this issuing authority, and all it issued")
    root_crl.add_argument("--reason", choices=tuple(REASONS), default="unspecified")
    root_crl.add_argument("--out", type=Path, required=True, metavar="FILE")


def _add_approvers(commands: Subparsers) -> None:
    text = "ask two people: issue, rotate and sign only with a warrant of these brokers"
    approvers = _command(commands, "approvers", _approvers, text)
    approvers.add_argument(
        "--public-key",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="public key of a broker's ledger; repeatable; without any, nobody is asked any more",
    )
    add_two_person(approvers)


def _add_token(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--pkcs11-module", metavar="FILE", help="make the issuing key in a token of this PKCS #11 module"
    )
    command.add_argument("--pkcs11-token", metavar="LABEL", help="the token's label")


def _duration(text: str) -> int:
    """Seconds of `30m`, `8h` or `90d`."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration such as 30m, 8h or 90d")
    return int(match[1]) * _UNIT_SECONDS[match[2]]


def _secrets(arguments: argparse.Namespace) -> GivenSecrets:
    new = arguments.ca_command == "init"
    return GivenSecrets("issuing authority", arguments.passphrase_file, arguments.pin_file, new=new)


def _asked_ahead(arguments: argparse.Namespace, folder: Path) -> GivenSecrets:
    """What opens the keys of the authority in that folder, asked for before it is locked: a running broker, which
    issues there too, waits for nobody who looks for his passphrase.
    """
    secrets = _secrets(arguments)
    if not getattr(arguments, "propose", None):
        kinds = {issuing.facts.key.kind for issuing in AuthorityFolder(folder, secrets).issuing}
        for kind in sorted(kinds):
            secrets.ask_ahead("PIN" if kind == "pkcs11" else "passphrase")
    return secrets


def _root_secrets(arguments: argparse.Namespace) -> GivenSecrets:
    return GivenSecrets("root", arguments.root_passphrase_file, new=arguments.ca_command == "init")


def _key_facts(arguments: argparse.Namespace) -> KeyFacts:
    if bool(arguments.pkcs11_module) != bool(arguments.pkcs11_token):
        raise ConfigError("token_unclear", "A token is named by --pkcs11-module and --pkcs11-token together.")
    if not arguments.pkcs11_module:
        return KeyFacts()
    return KeyFacts(kind="pkcs11", module=arguments.pkcs11_module, token=arguments.pkcs11_token)


def _init(arguments: argparse.Namespace) -> int:
    folder, now = arguments.folder, time.time()
    key, secrets = _key_facts(arguments), _secrets(arguments)
    if (folder / "ca.json").exists():
        raise ConfigError("authority_exists", f"There is an authority in {folder} already.")
    place = arguments.root or folder / "root"
    if not folder.exists():
        folder.mkdir(parents=True)
        folder.chmod(0o755)  # whatever the umask: brokers, which run as another user, read the lists in it
    with locked(folder):
        root = create_root(place, arguments.organisation, tuple(arguments.namespace), _root_secrets(arguments), now)
        create_folder(folder, root, key, arguments.crl_lifetime, secrets, now)
    return tell({"anchor": folder / "root.pem", "crl": folder / "crl.pem", "root": place}, arguments.format)


def _issue(arguments: argparse.Namespace) -> int:
    secrets = _asked_ahead(arguments, _existing(arguments.folder))
    with locked(arguments.folder):
        authority = AuthorityFolder(arguments.folder, secrets)
        terms = decode_terms(
            arguments.profile,
            authority.facts.spaces,
            arguments.name,
            raw_addresses=arguments.address,
            lifetime_seconds=arguments.lifetime,
            modbus_role=arguments.modbus_role,
        )
        key = _new_key(arguments)
        public_key = key.public_key() if key else verify_request(_read(arguments.csr), terms)
        exact = exactly(
            authority.folder,
            authority.root,
            authority.register,
            profile=arguments.profile,
            names=" ".join(sorted(arguments.name)),
            addresses=" ".join(sorted(arguments.address)),
            modbus_role=arguments.modbus_role,
            lifetime=arguments.lifetime,
            key="new" if key else key_digest(public_key),
        )
        if only_proposed(arguments, ProposalAct.CA_ISSUE, exact):
            return tell({"proposed": arguments.propose}, arguments.format)
        use_warrant(authority.folder, authority.register, arguments, ProposalAct.CA_ISSUE, exact, time.time())
        chain = authority.issue(terms, public_key, time.time())
        if key:
            write_private(arguments.key_out, encode_key(key))
        write_public(arguments.out, chain)
    (*_, entry) = authority.register.entries
    assert isinstance(entry, Issued)
    issued = {"serial": entry.serial, "names": ", ".join(entry.names), "not_after": entry.not_after}
    return tell({"certificate": arguments.out, **issued}, arguments.format)


def _new_key(arguments: argparse.Namespace) -> PrivateKey | None:
    """A key for a holder who brings no request."""
    if arguments.key_out and arguments.key_out.exists():
        raise ConfigError("key_exists", f"{arguments.key_out} is there already.", "a key is never written over")
    return make_key() if arguments.key_out else None


def _revoke(arguments: argparse.Namespace) -> int:
    folder = _existing(arguments.folder)
    return revoke(arguments, folder, _asked_ahead(arguments, folder))


def _crl(arguments: argparse.Namespace) -> int:
    secrets = _asked_ahead(arguments, _existing(arguments.folder))
    with locked(arguments.folder):
        authority = AuthorityFolder(arguments.folder, secrets)
        if arguments.root_crl:
            take_root_list(authority, _read(Path(arguments.root_crl)), time.time())
        else:
            authority.publish(time.time())
    return tell(
        {"crl": authority.crl, "next_update": min(crl.next_update for crl in authority.lists)}, arguments.format
    )


def _rotate(arguments: argparse.Namespace) -> int:
    secrets, root_secrets = _asked_ahead(arguments, _existing(arguments.folder)), _root_secrets(arguments)
    if arguments.root and not arguments.propose:
        root_secrets.ask_ahead("passphrase")
    now = time.time()
    with locked(arguments.folder):
        authority = AuthorityFolder(arguments.folder, secrets)
        if arguments.request:
            write_public(arguments.request, request_authority(authority, _key_facts(arguments)))
            return tell({"request": arguments.request}, arguments.format)
        if _only_rotation_proposed(arguments, authority, now):
            return tell({"proposed": arguments.propose}, arguments.format)
        if arguments.certificate:
            return _take(arguments, authority, read_certificate(arguments.certificate), now)
        request = request_authority(authority, _key_facts(arguments))
        certificate = Root(arguments.root, root_secrets).certify(request, now)
        authority = AuthorityFolder(arguments.folder, authority.secrets)
        return _take(arguments, authority, certificate, now)


def _only_rotation_proposed(arguments: argparse.Namespace, authority: AuthorityFolder, now: float) -> bool:
    """Whether a rotation was only to be proposed; else it is warranted, if it has to be. Raises BrokerError."""
    if arguments.root and read_approvers(arguments.root):
        hint = "go the way by --request, `ca sign` and --certificate"
        raise ConfigError("warrant_missing", "The root asks two people before it signs.", hint)
    key = _key_facts(arguments)
    answer = arguments.certificate and digest(read_certificate(arguments.certificate).public_bytes(Encoding.DER))
    exact = exactly(
        authority.folder,
        authority.root,
        authority.register,
        certificate=answer,
        issue_after=arguments.issue_after,
        key=" ".join(filter(None, (key.kind, key.module, key.token))),
    )
    if only_proposed(arguments, ProposalAct.CA_ROTATE, exact):
        return True
    use_warrant(authority.folder, authority.register, arguments, ProposalAct.CA_ROTATE, exact, now)
    return False


def _approvers(arguments: argparse.Namespace) -> int:
    folder = _existing(arguments.folder)
    keys = tuple(sorted(decode_vkey(_read(path).decode(errors="replace")).vkey for path in arguments.public_key))
    with locked(folder):
        root = read_certificate(folder / "root.pem")
        register = RegisterFile(folder / "register.jsonl")
        exact = exactly(folder, root, register, keys=" ".join(keys))
        if only_proposed(arguments, ProposalAct.CA_APPROVERS, exact):
            return tell({"proposed": arguments.propose}, arguments.format)
        use_warrant(folder, register, arguments, ProposalAct.CA_APPROVERS, exact, time.time())
        set_approvers(folder, keys)
    return tell({"approvers": len(keys)}, arguments.format)


def _take(arguments: argparse.Namespace, authority: AuthorityFolder, certificate: x509.Certificate, now: float) -> int:
    newest = take_authority(authority, certificate, now + arguments.issue_after, now).issuing[-1]
    facts = {"issuing": newest.number, "serial": newest.serial, "issues_from": newest.facts.issues_from}
    return tell(facts, arguments.format)


def _sign(arguments: argparse.Namespace) -> int:
    with locked(_existing(arguments.folder)):
        root, request = Root(arguments.folder, _root_secrets(arguments)), _read(arguments.csr)
        exact = exactly(
            arguments.folder, root.certificate, root.register, key=key_digest(public_key_of(decode_request(request)))
        )
        if only_proposed(arguments, ProposalAct.CA_SIGN, exact):
            return tell({"proposed": arguments.propose}, arguments.format)
        use_warrant(arguments.folder, root.register, arguments, ProposalAct.CA_SIGN, exact, time.time())
        certificate = root.certify(request, time.time())
        write_public(arguments.out, certificate.public_bytes(Encoding.PEM))
    return tell({"certificate": arguments.out, "serial": f"{certificate.serial_number:x}"}, arguments.format)


def _root_crl(arguments: argparse.Namespace) -> int:
    with locked(_existing(arguments.folder)):
        root, now = Root(arguments.folder, _root_secrets(arguments)), time.time()
        if arguments.revoke:
            root.revoke(arguments.revoke, arguments.reason, now)
        write_public(arguments.out, root.publish(now).public_bytes(Encoding.PEM))
    return tell({"crl": arguments.out}, arguments.format)


def _status(arguments: argparse.Namespace) -> int:
    authority = AuthorityFolder(_existing(arguments.folder), GivenSecrets("issuing authority", None))
    stands = standing(authority, time.time())
    print_standing(stands, arguments.format)
    return 1 if any(step.overdue for step in stands.steps) else 0


def _existing(folder: Path) -> Path:
    if not folder.is_dir():
        raise ConfigError("authority_missing", f"{folder} is not the folder of an authority.")
    return folder


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST_FILE)
    except OSError as error:
        raise ConfigError("file_unreadable", f"{path} cannot be read.", error.strerror or "") from None
