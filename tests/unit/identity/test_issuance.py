"""Our own authority gives what its terms say, and refuses in words what a request asks beyond them."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import IssuanceError
from broker.identity.issuance import PROFILES, RoleRule, decode_terms, role_extension, verify_request
from broker.identity.modbus_role import ROLE_OID, encode_role
from broker.identity.names import decode_namespace
from tests.unit.identity.forgery import general_name, key, name, rsa_key, usage

SPACES = tuple(map(decode_namespace, ("*@acme.example", "spiffe://acme.example/*", "*.acme.example")))
ANA, SYNC, HOST = "ana@acme.example", "spiffe://acme.example/sync", "a.acme.example"
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
NAMED = {"person": ANA, "service": SYNC, "modbus": SYNC, "connector": SYNC, "server": HOST, "bacnet-sc": HOST}
PERSON = decode_terms("person", SPACES, [ANA])


def terms(profile, *names, **rest):
    return decode_terms(profile, SPACES, names or [NAMED[profile]], **rest)


def role_of(profile):
    return "Operator" if PROFILES[profile].role is RoleRule.REQUIRED else None


def request(*extensions, holder=None, digest=None, subject="whoever", encoding=Encoding.PEM):
    builder = x509.CertificateSigningRequestBuilder().subject_name(name(subject))
    for extension in extensions:
        builder = builder.add_extension(extension, False)
    return builder.sign(holder or key("leaf"), digest or hashes.SHA256()).public_bytes(encoding)


def san(*names):
    return x509.SubjectAlternativeName([general_name(text) for text in names])


def refusal(work, *arguments, **rest):
    with pytest.raises(IssuanceError) as caught:
        work(*arguments, **rest)
    return caught.value.public


@pytest.mark.parametrize("profile", PROFILES)
def test_each_profile_gives_its_names_its_usages_and_a_short_life(profile):
    given_terms = terms(profile, modbus_role=role_of(profile))
    assert [str(n.value) for n in given_terms.general_names] == [NAMED[profile]]
    assert given_terms.lifetime_seconds == PROFILES[profile].lifetime_seconds <= PROFILES[profile].longest_seconds


def test_lifetimes_are_those_that_the_manual_promises():
    hours = {name: profile.lifetime_seconds // 3600 for name, profile in PROFILES.items()}
    assert (hours["person"], hours["service"], hours["server"]) == (8, 30 * 24, 90 * 24)


@pytest.mark.parametrize(
    ("profile", "names", "rest", "word"),
    [
        ("person", [SYNC], {}, "mailbox"),
        ("person", [ANA, "eve@acme.example"], {}, "exactly one name"),
        ("person", [], {}, "exactly one name"),
        ("person", ["ana@evil.example"], {}, "outside the namespaces"),
        ("person", ["ANA@Acme.Example"], {}, "lower case"),
        ("person", ["a\nb@acme.example"], {}, "'a\\nb@acme.example'"),
        ("person", [ANA], {"lifetime_seconds": 86_401}, "at most 24 hours"),
        ("person", [ANA], {"lifetime_seconds": 0}, "at most 24 hours"),
        ("person", [ANA], {"modbus_role": ""}, "printable"),
        ("person", [ANA], {"modbus_role": "x" * 256}, "1 to 255 octets"),
        ("person", [ANA], {"raw_addresses": ["127.0.0.1"]}, "no addresses"),
        ("service", [ANA], {}, "SPIFFE id"),
        ("modbus", [SYNC], {}, "needs a Modbus role"),
        ("modbus", [ANA], {"modbus_role": "Operator"}, "DNS name or SPIFFE id"),
        ("connector", [SYNC], {"modbus_role": "Operator"}, "no Modbus role"),
        ("server", [HOST], {"raw_addresses": ["localhost"]}, "localhost"),
        ("server", [f"h{n}.acme.example" for n in range(65)], {}, "1 to 64 names"),
        ("root", [HOST], {}, "no profile"),
    ],
)
def test_terms_beyond_the_profile_are_refused_in_words(profile, names, rest, word):
    assert word in refusal(decode_terms, profile, SPACES, names, **rest)


def test_everything_that_is_wrong_is_said_at_once():
    said = refusal(decode_terms, "person", SPACES, ["x@evil.example"], lifetime_seconds=10**9, modbus_role="")
    assert all(word in said for word in ("namespaces", "24 hours", "printable"))


@pytest.mark.parametrize(
    "extensions",
    [
        (),
        (san(ANA),),
        (usage("digital_signature"), x509.ExtendedKeyUsage([CLIENT])),
        (x509.BasicConstraints(ca=False, path_length=None),),
        (x509.SubjectKeyIdentifier(b"12345678901234567890"),),
    ],
)
@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
def test_a_request_within_its_terms_proves_its_key(extensions, encoding):
    assert verify_request(request(*extensions, encoding=encoding), PERSON) == key("leaf").public_key()


@pytest.mark.parametrize(
    ("extension", "word"),
    [
        (san(ANA, "eve@acme.example"), "the name 'eve@acme.example', not granted"),
        (san(x509.DNSName("x\n\x1b[31m.acme")), "\\n\\x1b[31m"),
        (x509.BasicConstraints(ca=True, path_length=0), "to be an authority"),
        (usage("digital_signature", "key_cert_sign"), "key usage key_cert_sign"),
        (usage("key_encipherment"), "key usage key_encipherment"),
        (x509.ExtendedKeyUsage([CLIENT, SERVER]), SERVER.dotted_string),
        (x509.NameConstraints([x509.DNSName("x")], None), "2.5.29.30"),
        (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), "1.2.3.4"),
        (role_extension("Engineer"), "Modbus role 'Engineer', not granted"),
        (x509.UnrecognizedExtension(ROLE_OID, b"\x13\x01A"), "cannot be read"),
    ],
)
def test_what_a_request_asks_beyond_its_terms_is_refused_in_words(extension, word):
    said = refusal(verify_request, request(extension), PERSON)
    assert word in said
    assert said.isprintable()


def test_a_granted_modbus_role_may_be_asked_for():
    operator = terms("modbus", modbus_role="Operator")
    assert verify_request(request(role_extension("Operator")), operator) == key("leaf").public_key()
    assert "not granted" in refusal(verify_request, request(role_extension("Admin")), operator)


@pytest.mark.parametrize(
    "holder", [lambda: rsa_key(2048), *(lambda c=c: ec.generate_private_key(c()) for c in (ec.SECP384R1, ec.SECP521R1))]
)
def test_sound_keys_of_other_kinds_are_certified(holder):
    holder = holder()
    assert verify_request(request(holder=holder), PERSON) == holder.public_key()


@pytest.mark.parametrize(
    ("holder", "word"),
    [
        (lambda: rsa_key(1024), "neither RSA"),
        (lambda: rsa.generate_private_key(3, 2048), "exponent"),
        (lambda: ec.generate_private_key(ec.SECP256K1()), "neither RSA"),
        (lambda: ec.generate_private_key(ec.SECP224R1()), "neither RSA"),
    ],
)
def test_weak_keys_are_refused(holder, word):
    assert word in refusal(verify_request, request(holder=holder()), PERSON)


def test_other_kinds_of_keys_are_refused():
    builder = x509.CertificateSigningRequestBuilder().subject_name(name("x"))
    raw = builder.sign(ed25519.Ed25519PrivateKey.generate(), None).public_bytes(Encoding.DER)
    assert "neither RSA" in refusal(verify_request, raw, PERSON)


def test_a_request_that_somebody_else_signed_is_refused():
    mine, other = request(encoding=Encoding.DER), key("other").public_key().public_numbers()
    point = key("leaf").public_key().public_numbers()
    forged = mine.replace(point.x.to_bytes(32, "big"), other.x.to_bytes(32, "big"))
    forged = forged.replace(point.y.to_bytes(32, "big"), other.y.to_bytes(32, "big"))
    assert "not signed with the key" in refusal(verify_request, forged, PERSON)


VALID = request(san(ANA), usage("digital_signature"), encoding=Encoding.DER)


@given(st.integers(0, len(VALID) - 1), st.integers(0, 255), st.booleans())
def test_no_change_to_a_request_gets_past_its_signature(place, octet, cut):
    raw = VALID[:place] if cut else VALID[:place] + bytes([octet]) + VALID[place + 1 :]
    if raw == VALID:
        return
    try:
        proven = verify_request(raw, PERSON)
    except IssuanceError as error:
        assert error.public.isprintable()
    else:
        assert proven == key("leaf").public_key()  # an other encoding of the same signature, at most


@given(st.one_of(st.binary(max_size=200), st.text(max_size=50).map(lambda t: b"-----BEGIN " + t.encode())))
def test_nonsense_is_refused_and_nothing_else_happens(raw):
    assert refusal(verify_request, raw, PERSON).isprintable()


def test_a_huge_request_is_not_even_read():
    assert "16 KiB" in refusal(verify_request, b"\x30" * 20_000, PERSON)


@given(
    st.sampled_from(sorted(PROFILES)),
    st.lists(st.sampled_from([ANA, SYNC, HOST, "eve@evil.example", "spiffe://evil.example/x"]), max_size=3),
    st.one_of(st.none(), st.integers(-1, 10**8)),
    st.one_of(st.none(), st.text(max_size=300)),
)
def test_whatever_is_granted_lies_within_profile_and_namespaces(profile, names, lifetime, role):
    try:
        granted = decode_terms(profile, SPACES, names, lifetime_seconds=lifetime, modbus_role=role)
    except IssuanceError:
        return
    kind = PROFILES[profile]
    assert granted.names
    assert all(n.form in kind.forms and any(space.holds(n) for space in SPACES) for n in granted.names)
    assert 0 < granted.lifetime_seconds <= kind.longest_seconds
    assert (granted.modbus_role is None) is (kind.role is RoleRule.REFUSED or role is None)
    assert role is None or len(encode_role(granted.modbus_role)) <= 258


WITHIN = [
    san(ANA),
    usage("digital_signature"),
    x509.ExtendedKeyUsage([CLIENT]),
    x509.BasicConstraints(ca=False, path_length=None),
]
BEYOND = [
    san("eve@acme.example"),
    san(ANA, x509.DNSName("a.acme.example")),
    usage("digital_signature", "crl_sign"),
    x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]),
    x509.BasicConstraints(ca=True, path_length=None),
    x509.PolicyConstraints(0, None),
    role_extension("Operator"),
]


@given(st.lists(st.sampled_from(WITHIN + BEYOND), unique_by=lambda extension: extension.oid))
def test_a_request_is_refused_exactly_if_something_in_it_is_beyond_its_terms(asked):
    raw = request(*asked)
    if any(extension in BEYOND for extension in asked):
        refusal(verify_request, raw, PERSON)
    else:
        assert verify_request(raw, PERSON) == key("leaf").public_key()
