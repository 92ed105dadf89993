"""`enrol` and `renew`: one's own certificate. The key is made here and never sent; codes are asked for."""

import argparse
import asyncio
import base64
import getpass
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from broker.cli.people.access import Access, checked_api, find_access, profile_file, read_text
from broker.cli.people.client import Client
from broker.cli.people.exits import CommandError, Document, Exit, ProblemError
from broker.cli.people.moments import distance, moment
from broker.cli.people.own_identity import (
    given_passphrase,
    new_key,
    read_identity,
    request_for,
    write_identity,
    write_whole,
)
from broker.cli.people.screen import Screen
from broker.errors import EnrolmentError

TRIES = 3
SERVICE_SHARE_LEFT = 1 / 3


def enrol(arguments: argparse.Namespace, environment: Mapping[str, str], screen: Screen) -> Exit:
    """Make a key, register an authenticator app, get the first certificate, and write the profile."""
    access = _stranger(arguments)
    profile = profile_file(environment, getattr(arguments, "profile", None))
    if profile.exists() and not arguments.force:
        hint = "Add --force to replace it, or name another file with --profile."
        raise CommandError("profile_exists", f"There is a profile already: {profile}.", hint)
    code = _code(arguments)
    encrypts = arguments.encrypt or arguments.passphrase_file
    passphrase = given_passphrase(arguments.passphrase_file, new=True) if encrypts else ""
    return asyncio.run(_enrol(access, profile, code, passphrase, screen))


def renew(arguments: argparse.Namespace, environment: Mapping[str, str], screen: Screen) -> Exit:
    """Get the next certificate, with a new key: people by their second factor, services by their good certificate."""
    access = find_access(arguments, environment)
    if arguments.service:
        return asyncio.run(_renew_service(access, arguments, screen))
    return asyncio.run(_renew(access, arguments, screen))


async def _enrol(access: Access, profile: Path, code: str, passphrase: str, screen: Screen) -> Exit:
    key = new_key()
    async with Client(access) as client:
        offer = await client.post("/v1/enrolment", {"code": code, "request": request_for(key), "factor": "totp"})
        _show_factor(offer, screen)
        answer = await _proven(client, "/v1/enrolment/complete", offer, screen)
    identity, authority = (profile.with_name(f"{profile.stem}.{part}.pem") for part in ("identity", "ca"))
    write_identity(identity, identity, key, _chain(answer), passphrase)
    lines = [f"api = {json.dumps(access.api)}"]
    if access.ca is not None:
        write_whole(authority, read_text(access.ca, "authority"))
        lines.append(f"ca = {json.dumps(authority.name)}")
    lines += ["system_trust = true"] if access.system_trust else []
    lines += [f"{name} = {json.dumps(identity.name)}" for name in ("certificate", "key")]
    write_whole(profile, "\n".join(lines) + "\n")
    _tell(answer, screen, {"profile": str(profile)})
    screen.say(f"The profile {profile} is yours; try `otb me`. Renew with `otb renew` and a code of your app.")
    return Exit.DONE


async def _renew(access: Access, arguments: argparse.Namespace, screen: Screen) -> Exit:
    from broker.identity.renewal import sign_renewal

    old = read_identity(access, arguments.passphrase_file)
    key = new_key()
    request = request_for(key)
    signature = sign_renewal(old.key, old.certificate, request.encode())
    assert access.certificate is not None
    assert access.key is not None
    asked = {
        "certificate": _leaf(old.certificate),
        "request": request,
        "signature": base64.b64encode(signature).decode(),
    }
    async with Client(_bare(access)) as client:
        offer = await client.post("/v1/renewal", asked)
        if offer.get("factor") != "totp":
            raise CommandError("factor_elsewhere", "Your second factor is a security key.", "Renew where you have it.")
        answer = await _proven(client, "/v1/renewal/complete", offer, screen)
    write_identity(access.key, access.certificate, key, _chain(answer), old.passphrase)
    _tell(answer, screen, {})
    return Exit.DONE


async def _renew_service(access: Access, arguments: argparse.Namespace, screen: Screen) -> Exit:
    old = read_identity(access, arguments.passphrase_file)
    begins, ends = (
        old.certificate.not_valid_before_utc.timestamp(),
        old.certificate.not_valid_after_utc.timestamp(),
    )
    if not arguments.now and ends - time.time() > (ends - begins) * SERVICE_SHARE_LEFT:
        screen.document({"renewed": False, "not_after": ends})
        screen.say(f"Nothing to do: the certificate is good until {moment(ends)}, {distance(ends)}.")
        return Exit.DONE
    assert access.certificate is not None
    assert access.key is not None
    key = new_key()
    async with Client(access) as client:
        answer = await client.post("/v1/renewal/service", {"request": request_for(key)})
    write_identity(access.key, access.certificate, key, _chain(answer), old.passphrase)
    _tell(answer, screen, {"renewed": True})
    return Exit.DONE


async def _proven(client: Client, path: str, offer: Document, screen: Screen) -> Document:
    """The answer to a code of the app; a mistyped one may be typed again. Raises ProblemError or CommandError."""
    for left in reversed(range(TRIES)):
        code = await asyncio.to_thread(_ask, "Code of your authenticator app: ")
        try:
            return await client.post(path, {"ticket": offer.get("ticket"), "code": code})
        except ProblemError as problem:
            if problem.code != "factor_refused" or not left or not sys.stdin.isatty():
                raise
            screen.note("That was not the code of this moment; once more.")
    raise AssertionError("every try returns or raises")


def _show_factor(offer: Document, screen: Screen) -> None:
    """The secret of the new factor, to the one who enrols: a picture for the app, and the same as text."""
    uri = str(offer.get("uri"))
    screen.line({"uri": uri, "subject": offer.get("subject")})
    screen.say(f"You enrol as {offer.get('subject')} of {offer.get('organisation')}.")
    screen.say("Let your authenticator app read this, or type it in; it is not shown again:")
    if not screen.as_json and sys.stdout.isatty():
        import segno

        segno.make(uri, error="l").terminal(out=sys.stdout, compact=True)
    screen.say(f"    {uri}")


def _tell(answer: Document, screen: Screen, more: Document) -> None:
    known = {name: answer.get(name) for name in ("subject", "organisation", "serial", "not_after")}
    screen.document(known | more)
    until = answer.get("not_after")
    screen.say(f"Your certificate for {answer.get('subject')} is good until {moment(until)}, {distance(until)}.")


def _stranger(arguments: argparse.Namespace) -> Access:
    """The broker as who has nothing yet knows it. Raises CommandError."""
    api, ca = getattr(arguments, "api", None), getattr(arguments, "ca", None)
    if not api:
        hint = "Give --api and --ca (or --system-trust), as your sponsor told you."
        raise CommandError("usage", "It is not known where to enrol.", hint, Exit.USAGE)
    trusts = bool(getattr(arguments, "system_trust", False))
    return Access(checked_api(api), ca=None if ca is None else Path(ca).expanduser(), system_trust=trusts)


def _bare(access: Access) -> Access:
    """The same broker, without proofs: an old certificate would be refused before anything could be said."""
    return Access(access.api, ca=access.ca, system_trust=access.system_trust, source=access.source)


def _code(arguments: argparse.Namespace) -> str:
    """The code of the invitation, checked for slips of the pen before it is sent. Raises CommandError."""
    from broker.identity.invitation_code import decode_code

    if arguments.code_file is not None:
        code = read_text(Path(arguments.code_file).expanduser(), "file with the code").strip()
    elif arguments.code in {None, "-"}:
        code = _ask("Code of your invitation: ")
    else:
        hint = "Leave it out and paste it when you are asked, or use --code-file; ask for another if this one was seen."
        raise CommandError("code_visible", "Others on this machine can read arguments.", hint, Exit.USAGE)
    try:
        decode_code(code)
    except EnrolmentError as error:
        hint = "Compare it letter by letter; it is 40 letters and digits, and has neither 0, 1, 8 nor 9."
        raise CommandError(error.code, error.public, hint, Exit.USAGE) from None
    return code


def _ask(question: str) -> str:
    """A line from the terminal, unseen, or from standard input. Raises CommandError."""
    line = getpass.getpass(question) if sys.stdin.isatty() else sys.stdin.readline()
    if not line.strip():
        raise CommandError("code_missing", "There is no code to read.", "Type it, or give it on standard input.")
    return line.strip()


def _chain(answer: Document) -> str:
    chain: Any = answer.get("certificate")
    if not isinstance(chain, str) or "BEGIN CERTIFICATE" not in chain or "PRIVATE" in chain:
        raise CommandError("broker_odd", "The broker's answer makes no sense: there is no certificate in it.")
    return chain


def _leaf(certificate: Any) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding

    pem: bytes = certificate.public_bytes(Encoding.PEM)
    return pem.decode()
