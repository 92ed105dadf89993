"""What the built-in authority issues is believed, what it revokes is not, and a new issuing authority stops nobody."""

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from broker.adapters.authority import folder as folder_module
from broker.adapters.authority.certificates import make_key
from broker.adapters.authority.online import OnlineAuthority
from broker.adapters.authority.register import Issued, RegisterFile, Revoked, locked
from broker.adapters.authority.rotation import request_authority, take_authority, take_root_list
from broker.adapters.authority.standing import Stage, standing
from broker.errors import CertificateError, ConfigError, EnrolmentError, IntegrityError, IssuanceError
from broker.identity.certificate import fingerprint
from broker.identity.explanation import explain_certificate
from broker.identity.issuance import PROFILES, RoleRule, decode_terms
from tests.integration.authority.kit import (
    ANA,
    DAY,
    HOUR,
    NOW,
    Authority,
    der,
    issuer_of,
    openssl_accepts,
    serial_of,
)

SYNC, HOST = "spiffe://acme.example/sync/v1.2", "a.acme.example"
SIDES = ("client", "server")
NAMED = {"person": ANA, "service": SYNC, "modbus": SYNC, "connector": SYNC, "server": HOST, "bacnet-sc": HOST}


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path / "ca")


def code_of(work, *arguments):
    with pytest.raises((CertificateError, ConfigError, IssuanceError)) as caught:
        work(*arguments)
    return caught.value.code


def steps(authority, now):
    return [step.text for step in standing(authority.opened(), now).steps]


def stages(authority, now):
    return [one.stage for one in standing(authority.opened(), now).issuing]


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_passes_both_validators(authority, profile, tmp_path):
    role = "Operator" if PROFILES[profile].role is RoleRule.REQUIRED else None
    chain = authority.issue(profile, NAMED[profile], modbus_role=role)
    (tmp_path / "leaf.pem").write_bytes(chain)
    client, server = (openssl_accepts(authority.folder, tmp_path / "leaf.pem", f"ssl{side}")[0] for side in SIDES)
    assert (client, server) == (profile != "server", profile in {"server", "bacnet-sc"})
    findings = explain_certificate(chain, authority.trust(), NOW)
    if profile == "server":
        assert [finding.code for finding in findings] == ["certificate_not_for_clients"]
        return
    assert findings == ()
    subject = authority.subject(chain, NOW)
    assert (subject.id, subject.modbus_role) == (NAMED[profile], role)


def test_a_certificate_is_in_the_register_before_anybody_has_it(authority):
    chain = authority.issue(modbus_role="Operator")
    (entry,) = (e for e in authority.opened().register.entries if isinstance(e, Issued))
    assert (entry.serial, entry.fingerprint) == (serial_of(chain), fingerprint(der(chain)[0]))
    assert (entry.profile, entry.names, entry.modbus_role) == ("person", (ANA,), "Operator")


def test_a_certificate_that_cannot_be_recorded_is_not_issued(authority, monkeypatch):
    def fail(_descriptor):
        raise OSError("disk")

    monkeypatch.setattr("broker.adapters.authority.register.os.fsync", fail)
    with pytest.raises(OSError, match="disk"):
        authority.issue()


def test_a_revoked_certificate_is_refused_and_stays_so(authority):
    ana, eve = authority.issue(), authority.issue(name="eve@acme.example")
    authority.opened().revoke(serial_of(ana).upper(), "key-compromise", NOW)
    for _ in range(2):
        assert code_of(authority.subject, ana, NOW) == "certificate_revoked"
        assert authority.subject(eve, NOW).id == "eve@acme.example"
        authority.opened().publish(NOW)
    authority.opened().revoke(serial_of(ana), "superseded", NOW)
    assert sum(isinstance(e, Revoked) for e in authority.opened().register.entries) == 1


def test_what_was_renewed_from_a_revoked_certificate_is_revoked_with_it(authority):
    stolen, other = authority.issue(), authority.issue()
    family, serial = [], serial_of(stolen)
    for _ in range(3):
        family.append(authority.issue(renewed_from=serial))
        serial = serial_of(family[-1])
    aside = authority.issue(renewed_from=serial_of(family[0]))
    revoked = authority.opened().revoke(serial_of(stolen), "key-compromise", NOW)
    assert [entry.serial for entry in revoked] == [serial_of(chain) for chain in (stolen, *family, aside)]
    for chain in (stolen, *family, aside):
        with pytest.raises(CertificateError) as raised:
            authority.subject(chain, NOW)
        assert raised.value.code == "certificate_revoked"
    assert authority.subject(other, NOW).id == ANA
    noted = [entry.serial for entry in authority.opened().register.entries if isinstance(entry, Revoked)]
    assert noted == [entry.serial for entry in revoked]


def test_a_certificate_that_was_only_superseded_leaves_what_was_renewed_from_it(authority):
    old = authority.issue()
    new = authority.issue(renewed_from=serial_of(old))
    assert len(authority.opened().revoke(serial_of(old), "superseded", NOW)) == 1
    assert authority.subject(new, NOW).id == ANA


def test_an_invitation_is_used_once_and_nothing_is_renewed_from_what_is_revoked(authority):
    online = OnlineAuthority(authority.folder, authority.secrets)
    terms, key = decode_terms("person", authority.opened().facts.spaces, [ANA]), make_key().public_key()
    first = online.issue(terms, key, NOW, spends="inv-a")
    with pytest.raises(EnrolmentError) as raised:
        online.issue(terms, key, NOW, spends="inv-a")
    assert raised.value.code == "code_used"
    online.spend(["inv-b", "inv-a"], NOW)
    assert [online.spent(invitation) for invitation in ("inv-a", "inv-b", "inv-c")] == [True, True, False]
    second = online.issue(terms, key, NOW, renewed_from=first.entry.serial)
    authority.opened().revoke(first.entry.serial, "key-compromise", NOW)
    for serial in (first.entry.serial, second.entry.serial):
        with pytest.raises(EnrolmentError) as raised:
            online.issue(terms, key, NOW, renewed_from=serial)
        assert raised.value.code == "renewal_refused"
    assert sum(isinstance(entry, Issued) for entry in authority.opened().register.entries) == 2


def test_a_serial_that_was_never_issued_is_not_revoked(authority):
    assert code_of(authority.opened().revoke, "123abc", "superseded", NOW) == "serial_unknown"
    assert code_of(authority.opened().revoke, authority.opened().issuing[0].serial, "superseded", NOW) == (
        "serial_unknown"
    )


def test_the_list_forgets_what_ran_out_long_ago(authority):
    ana = authority.issue()
    authority.opened().revoke(serial_of(ana), "superseded", NOW)

    def listed():
        opened = authority.opened()
        return len(list(opened.newest_list(opened.issuing[0]).crl))

    authority.opened().publish(NOW + 7 * DAY)
    assert listed() == 1
    authority.opened().publish(NOW + 8 * DAY)
    assert listed() == 0


def test_a_revocation_survives_the_loss_of_the_register(authority):
    ana = authority.issue()
    authority.opened().revoke(serial_of(ana), "superseded", NOW)
    (authority.folder / "register.jsonl").unlink()
    authority.opened().publish(NOW)
    assert code_of(authority.subject, ana, NOW) == "certificate_revoked"


def test_lists_get_higher_numbers_and_end_when_they_say(authority):
    opened = authority.opened()
    first = opened.newest_list(opened.issuing[0])
    opened.publish(NOW + DAY)
    second = authority.opened().newest_list(opened.issuing[0])
    assert second.next_update == first.next_update + DAY == NOW + 8 * DAY
    numbers = [crl.crl.extensions[0].value.crl_number for crl in (first, second)]
    assert numbers == [1, 2]
    chain = authority.issue("service", SYNC)
    assert code_of(authority.subject, chain, NOW + 8 * DAY) == "crl_stale"


def test_nothing_outlives_its_authority(authority):
    late = NOW + 701 * DAY
    authority.opened().publish(late)
    with pytest.raises(IssuanceError, match="rotate it first"):
        authority.issue("service", SYNC, now=late)
    assert authority.issue(now=late)


def test_rotation_stops_nobody(authority):
    old = authority.issue("service", SYNC)
    authority.rotate(NOW + DAY, issues_from=NOW + DAY + HOUR)
    assert stages(authority, NOW + DAY) == [Stage.IN_USE, Stage.WAITING]
    assert authority.subject(old, NOW + DAY).id == SYNC
    between = authority.issue("service", SYNC, now=NOW + DAY + HOUR - 1)
    assert issuer_of(between) == issuer_of(old)

    begun = NOW + DAY + HOUR
    new = authority.issue("service", SYNC, now=begun)
    assert issuer_of(new) != issuer_of(old)
    assert stages(authority, begun) == [Stage.REPLACED, Stage.IN_USE]
    for chain in (old, between, new):
        assert authority.subject(chain, begun).id == SYNC
    authority.opened().revoke(serial_of(old), "superseded", begun)
    assert code_of(authority.subject, old, begun) == "certificate_revoked"
    assert authority.subject(between, begun).id == authority.subject(new, begun).id == SYNC


def test_a_broker_that_has_the_new_list_when_rotation_begins_needs_no_other(authority):
    """What the new authority issues later is believed with what was published before it issued anything."""
    authority.rotate(NOW, issues_from=NOW + HOUR)
    trust = authority.trust()
    leaf, *others = der(authority.issue(now=NOW + HOUR))
    assert trust.verify(leaf, tuple(others), NOW + HOUR).id == ANA


def test_the_old_authority_s_list_stays_fresh_until_its_last_certificate_ended(authority):
    last = authority.issue("service", SYNC, now=NOW)
    authority.rotate(NOW, issues_from=NOW)
    for day in range(0, 30, 5):
        authority.opened().publish(NOW + day * DAY)
        assert authority.subject(last, NOW + day * DAY).id == SYNC
    authority.opened().publish(NOW + 31 * DAY)
    assert stages(authority, NOW + 31 * DAY) == [Stage.DONE, Stage.IN_USE]
    assert authority.opened().newest_list(authority.opened().issuing[0]) is None
    assert any("can be destroyed" in step for step in steps(authority, NOW + 31 * DAY))
    (authority.folder / "issuing-1.key").unlink()
    authority.opened().publish(NOW + 31 * DAY)
    assert authority.issue(now=NOW + 31 * DAY)


def test_nothing_is_issued_by_an_authority_whose_list_was_not_published(authority, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(folder_module, "write_public", lambda *_: None)
        authority.rotate(NOW, issues_from=NOW)
    assert issuer_of(authority.issue()) == "CN=acme issuing 1,O=acme"
    authority.opened().publish(NOW)
    assert issuer_of(authority.issue()) == "CN=acme issuing 2,O=acme"


def test_a_request_is_repeated_until_it_is_answered(authority):
    first = request_authority(authority.opened(), authority.key)
    (authority.folder / "issuing-2.csr").unlink()
    again = request_authority(authority.opened(), authority.key)
    certificates = [authority.root.certify(raw, NOW) for raw in (first, again)]
    assert certificates[0].public_key() == certificates[1].public_key()
    assert stages(authority, NOW) == [Stage.IN_USE, Stage.AWAITED]
    take_authority(authority.opened(), certificates[0], NOW, NOW)
    assert code_of(take_authority, authority.opened(), certificates[1], NOW, NOW) == "certificate_refused"


def test_only_the_root_s_answer_to_the_request_is_taken_in(authority, tmp_path):
    other = Authority(tmp_path / "other")
    request = request_authority(authority.opened(), authority.key)
    foreign = other.root.certify(request, NOW)
    unasked = authority.root.certify(request_authority(other.opened(), other.key), NOW)
    ended = authority.root.certify(request, NOW - 731 * DAY)
    for wrong in (foreign, unasked, ended, authority.root.certificate):
        assert code_of(take_authority, authority.opened(), wrong, NOW, NOW) == "certificate_refused"


def test_the_root_signs_issuing_authorities_only(authority):
    leaf_request = (authority.folder / "issuing-1.csr").read_bytes()
    assert authority.root.certify(leaf_request, NOW)
    from tests.unit.identity.test_issuance import request

    assert code_of(authority.root.certify, request(subject="ana"), NOW) == "request_refused"


def test_revoking_an_issuing_authority_refuses_all_below_it_and_ends_its_use(authority):
    ana = authority.issue()
    authority.rotate(NOW, issues_from=NOW)
    authority.root.revoke(authority.opened().issuing[0].serial, "ca-compromise", NOW)
    take_root_list(authority.opened(), authority.root.publish(NOW).public_bytes(Encoding.PEM), NOW)
    assert code_of(authority.subject, ana, NOW) == "certificate_revoked"
    assert authority.subject(authority.issue(), NOW).id == ANA
    assert stages(authority, NOW) == [Stage.REVOKED, Stage.IN_USE]


def test_a_lost_key_is_got_over_with_the_root_and_a_rotation(authority):
    ana = authority.issue()
    (authority.folder / "issuing-1.key").unlink()
    assert code_of(authority.opened().publish, NOW) == "key_unusable"
    authority.root.revoke(authority.opened().issuing[0].serial, "superseded", NOW)
    take_root_list(authority.opened(), authority.root.publish(NOW).public_bytes(Encoding.PEM), NOW)
    authority.rotate(NOW, issues_from=NOW)
    authority.opened().publish(NOW)
    assert code_of(authority.subject, ana, NOW) == "certificate_revoked"
    assert authority.subject(authority.issue(), NOW).id == ANA


def test_an_older_list_of_the_root_is_not_taken_back_in(authority, tmp_path):
    old = (authority.folder / "root-crl.pem").read_bytes()
    newer = authority.root.publish(NOW).public_bytes(Encoding.PEM)
    take_root_list(authority.opened(), newer, NOW)
    other = (Authority(tmp_path / "other").folder / "root-crl.pem").read_bytes()
    for wrong in (old, other, newer + newer):
        assert code_of(take_root_list, authority.opened(), wrong, NOW) == "crl_refused"
    assert code_of(take_root_list, authority.opened(), newer, NOW + 200 * DAY) == "crl_refused"


def test_status_says_what_is_due(authority):
    (authority.folder / "root" / "root.key").unlink()
    assert steps(authority, NOW) == []
    assert ["second half" in step for step in steps(authority, NOW + 4 * DAY)] == [True]
    late = standing(authority.opened(), NOW + 8 * DAY)
    assert [(step.overdue, "has run out" in step.text) for step in late.steps] == [(True, True)]
    assert any("root's revocation list runs out" in step for step in steps(authority, NOW + 160 * DAY))
    assert any("within 180 days" in step for step in steps(authority, NOW + 560 * DAY))
    assert any("new one, and trust both" in step for step in steps(authority, NOW + 3000 * DAY))
    assert any("no issuing authority" in step for step in steps(authority, NOW + 731 * DAY))


@pytest.mark.parametrize(
    "tamper",
    [
        lambda lines: [lines[0].replace(b'"number":1', b'"number":7'), *lines[1:]],
        lambda lines: lines[1:],
        lambda lines: [lines[0], *lines[2:]],
        lambda lines: [lines[1], lines[0], *lines[2:]],
        lambda lines: [*lines, b"{}"],
        lambda lines: [*lines, b"nonsense"],
        lambda lines: [*lines, b"[]"],
    ],
)
def test_a_register_that_was_changed_is_found_out(authority, tamper):
    authority.issue()
    authority.issue()
    path = authority.folder / "register.jsonl"
    path.write_bytes(b"\n".join(tamper(path.read_bytes().splitlines())) + b"\n")
    with pytest.raises(IntegrityError):
        authority.issue()


def test_a_line_that_a_power_cut_left_half_written_is_cut_off(authority):
    path = authority.folder / "register.jsonl"
    with path.open("ab") as file:
        file.write(b'{"at":17')
    authority.issue()
    assert len(RegisterFile(path).entries) == 2
    assert b'{"at":17' not in path.read_bytes().splitlines()


def test_a_folder_that_somebody_else_holds_is_not_waited_for_without_end(authority):
    online = OnlineAuthority(authority.folder, authority.secrets)
    online._patience_seconds = 0.1
    with locked(authority.folder):
        assert code_of(online.spent, "inv-a") == "authority_busy"
    assert not online.spent("inv-a")
