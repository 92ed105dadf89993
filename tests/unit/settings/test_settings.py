"""Settings: unknown keys, wrong values and missing ones are told in words that name what would be right."""

from typing import Any

import pytest
from pydantic import ValidationError

from broker.model.trust import Binding, Issuer, Requirement
from broker.settings.broker_file import Settings
from broker.settings.fields import Section
from broker.settings.findings import Finding
from broker.settings.words import findings_of

LISTENER = {"address": "127.0.0.1", "certificate_file": "tls.pem", "key_file": "tls.key"}
ISSUER = {
    "issuer": "https://id.example",
    "organisation": "acme",
    "audiences": ["broker"],
    "subjects": ["*@acme.example"],
    "jwks_file": "jwks.json",
}


def raw(**changes: Any) -> dict[str, Any]:
    given = {"inventory": "inventory", "modbus_tls": [LISTENER], "ledger": {"origin": "b/l", "key_file": "ledger.key"}}
    return {key: value for key, value in (given | changes).items() if value is not ...}


def findings(**changes: Any) -> list[Finding]:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate(raw(**changes))
    return list(findings_of(caught.value.errors(), Settings.model_json_schema()))


def test_the_least_settings_have_every_limit_explicit() -> None:
    settings = Settings.model_validate(raw(), context={"folder": "/etc/otbroker"})
    listener = settings.modbus_tls[0]
    assert (listener.port, listener.limits.max_connections, listener.limits.max_pipelined) == (802, 4096, 16)
    assert (listener.limits.handshake_seconds, listener.limits.idle_seconds) == (10.0, 3600.0)
    assert (settings.reload.gains, settings.reload.invalid_stop_seconds) == ("review", 300)
    assert (settings.policy.engine, settings.policy.embedded_deadline_milliseconds) == ("embedded", 50)
    assert settings.ledger.durability == "writes"


def test_paths_continue_from_the_folder_of_the_file() -> None:
    settings = Settings.model_validate(raw(state_dir="/var/s"), context={"folder": "/etc/otbroker"})
    assert settings.inventory == "/etc/otbroker/inventory"
    assert settings.modbus_tls[0].key_file == "/etc/otbroker/tls.key"
    assert settings.ledger_folder == "/var/s/ledger"


def test_settings_are_frozen() -> None:
    settings = Settings.model_validate(raw())
    with pytest.raises(ValidationError):
        settings.state_dir = "/tmp"  # type: ignore[misc]


def test_issuers_become_the_model_s() -> None:
    settings = Settings.model_validate(raw(issuers=[ISSUER | {"binding": "required"}]))
    (issuer,) = settings.trust_issuers()
    assert isinstance(issuer, Issuer)
    assert (issuer.issuer, issuer.binding, issuer.maximum_lifetime_seconds) == (
        "https://id.example",
        Binding.REQUIRED,
        3600,
    )


def test_groups_are_given_roles_by_the_issuers_section() -> None:
    section = ISSUER | {"roles_claim": "groups", "roles": {"/ot/security": ["security"]}, "clients": ["otb"]}
    (issuer,) = Settings.model_validate(raw(issuers=[section])).trust_issuers()
    assert (issuer.roles, issuer.clients) == ({"/ot/security": ("security",)}, ("otb",))


def test_a_client_is_no_audience_lest_its_id_tokens_pass_for_access_tokens() -> None:
    (found,) = findings(issuers=[ISSUER | {"clients": ["broker"]}])
    assert "an ID token would pass for an access token" in found.message


def test_https_asks_for_both_proofs_by_default() -> None:
    settings = Settings.model_validate(raw(https=LISTENER, issuers=[ISSUER]))
    assert settings.https is not None
    assert settings.https.requirement is Requirement.BOTH


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        ({"modbus-tls": []}, "unknown key 'modbus-tls'", "did you mean 'modbus_tls'?"),
        ({"modbus_tls": [LISTENER | {"adress": "x"}]}, "unknown key 'adress'", "did you mean 'address'?"),
        ({"modbus_tls": [LISTENER | {"port": "80x"}]}, "'port' '80x' must be a whole number", ""),
        ({"modbus_tls": [LISTENER | {"port": "99999"}]}, "'port' '99999' must be at most 65535", ""),
        ({"modbus_tls": [LISTENER | {"address": "everywhere"}]}, "must be an IP address", ""),
        ({"modbus_tls": [LISTENER | {"unit_ids": {"1": "ahu-1"}}]}, "must name a device as site/device", "plant/ahu-1"),
        ({"modbus_tls": [LISTENER | {"unit_ids": {"256": "a/b"}}]}, "the key '256' cannot be used", "at most 255"),
        (
            {"modbus_tls": [{"address": "::1", "key_file": "k"}]},
            "'certificate_file' is missing",
            "PEM certificate chain",
        ),
        ({"modbus_tls": "x"}, "'modbus_tls' 'x' must be a list", ""),
        ({"inventory": None}, "'inventory' has no value", "Folder"),
        ({"inventory": ...}, "'inventory' is missing", "Folder"),
        ({"ops": {"address": "10.0.0.1"}}, "must be loopback", ""),
        ({"modbus_tls": ...}, "there is no listener", ""),
        ({"https": LISTENER}, "https asks for tokens but there are no issuers", ""),
        ({"issuers": [ISSUER | {"jwks_url": "https://x"}]}, "exactly one of jwks_url and jwks_file", ""),
        ({"issuers": [ISSUER | {"jwks_url": "http://x", "jwks_file": ""}]}, "not of the right form", "https only"),
        ({"issuers": [ISSUER | {"algorithms": ["none"]}]}, "'none' is not one of", ""),
        ({"issuers": [ISSUER | {"algorithms": ["HS256"]}]}, "'HS256' is not one of", "did you mean"),
        ({"issuers": [ISSUER | {"audiences": []}]}, "too few entries", ""),
        ({"policy": {"engine": "opa"}}, "belong together", ""),
        ({"state": {"url": "postgresql://u:p@127.0.0.1/db"}}, "use password_file", ""),
        ({"state": {"url": "mysql://u@127.0.0.1/db"}}, "must be like postgresql://", ""),
        ({"state": {"url": "postgresql://127.0.0.1/db"}}, "must be like postgresql://", ""),
        ({"state": {"url": "postgresql://u@127.0.0.1/"}}, "must name a database", ""),
        ({"state": {"url": "postgresql://u@127.0.0.1/db?sslmode=disable"}}, "nothing after it", ""),
        ({"state": {"url": "postgresql://u@db.example/db"}}, "needs ca_file", ""),
        ({"state": {"password_file": "p"}}, "belong to a url", ""),
        ({"policy": {"engine": "opa", "opa": {"url": "http://opa.example"}}}, "must be an https:// address", ""),
        ({"policy": {"engine": "opa", "opa": {"url": "https://u:p@opa.example"}}}, "secrets are given as files", ""),
        ({"ledger": {"origin": "a b", "key_file": "k"}}, "'origin' 'a b' is not of the right form", ""),
        ({"ledger": {"origin": "a", "key_file": "k", "durability": "none"}}, "is not one of writes, strict", ""),
        ({"ledger": {"origin": "a", "key_file": "k", "exports": [{"kind": "ftp"}]}}, "'kind' 'ftp' is not one of", ""),
        ({"ledger": {"origin": "a", "key_file": "k", "exports": [{}]}}, "'kind' is missing", ""),
        ({"reload": {"gains": "aply"}}, "'gains' 'aply' is not one of apply, review", "did you mean 'apply'?"),
    ],
)
def test_every_mistake_is_told_in_plain_words(changes: dict[str, Any], message: str, hint: str) -> None:
    (finding,) = findings(**changes)
    assert message in finding.message
    assert hint in finding.hint


def test_a_policy_server_on_this_machine_may_be_plain_http() -> None:
    settings = Settings.model_validate(raw(policy={"engine": "opa", "opa": {"url": "http://127.0.0.1:8181/"}}))
    assert settings.policy.opa is not None
    assert settings.policy.opa.url == "http://127.0.0.1:8181"


def test_no_word_of_pydantic_reaches_the_reader() -> None:
    wrong: dict[str, Any] = {
        "state_dir": ["x"],
        "modbus_tls": [{"limits": {"max_pipelined": "0", "idle_seconds": "x"}}],
    }
    for finding in findings(**wrong, https="no", issuers="none", logging=None):
        assert not {"Input", "valid", "dictionary", "type="} & set(finding.message.split())


def sections(section: type[Section]) -> set[type[Section]]:
    found = {section}
    for info in section.model_fields.values():
        for kind in (info.annotation, *getattr(info.annotation, "__args__", ())):
            if isinstance(kind, type) and issubclass(kind, Section):
                found |= sections(kind)
    return found


def test_every_key_is_documented() -> None:
    for section in sections(Settings):
        assert all(info.description for info in section.model_fields.values()), section
