"""The certificate message of TLS 1.3 is taken apart strictly, whatever a peer puts into it."""

from hypothesis import given
from hypothesis import strategies as st

from broker.listeners.tls_context import presented_certificates


def message(context, certificates):
    entries = b"".join(
        len(der).to_bytes(3, "big") + der + len(ext).to_bytes(2, "big") + ext for der, ext in certificates
    )
    body = bytes([len(context)]) + context + len(entries).to_bytes(3, "big") + entries
    return b"\x0b" + len(body).to_bytes(3, "big") + body


certificates = st.lists(st.tuples(st.binary(min_size=1, max_size=600), st.binary(max_size=40)), max_size=5)


@given(st.binary(max_size=255), certificates)
def test_what_was_presented_is_found_in_order(context, presented):
    assert presented_certificates(message(context, presented)) == tuple(der for der, _extensions in presented)


@given(st.binary(max_size=20), certificates.filter(bool), st.integers(min_value=1, max_value=50))
def test_a_message_that_is_cut_off_yields_no_certificates_that_were_not_there(context, presented, cut):
    found = presented_certificates(message(context, presented)[:-cut])
    assert found == tuple(der for der, _extensions in presented)[: len(found)]
    assert len(found) < len(presented)


@given(st.binary(max_size=3000))
def test_arbitrary_octets_do_no_harm(octets):
    assert sum(map(len, presented_certificates(octets))) <= len(octets)


def test_an_empty_certificate_makes_the_message_malformed():
    assert presented_certificates(message(b"", [(b"", b"")])) == ()
