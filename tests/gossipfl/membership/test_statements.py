import contextlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipfl.errors import (
    CertificateForged,
    CertificateOfAnotherNetwork,
    IncompatibleCharter,
    InvalidInvitation,
    MalformedStatement,
    NotAMember,
    SettingError,
)
from gossipfl.membership import (
    Certificate,
    Charter,
    Grant,
    Invitation,
    KeySet,
    Network,
    Revocation,
    Role,
    Rotation,
    Signed,
)
from gossipfl.membership.charter import canonical, fingerprints, read_fingerprints, require_alike
from gossipfl.membership.invitations import REQUEST_BYTES, number_in
from gossipfl.membership.signing import MOST_STATEMENT_BYTES, Signature

from .members import KEYS, NOW, certificate, charter, key, network

DIGEST = st.binary(min_size=32, max_size=32)
TIME = st.integers(0, 2**40)
TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=60)


@st.composite
def key_sets(draw):
    keys = sorted(draw(st.sets(DIGEST, min_size=1, max_size=8)))
    return KeySet(draw(st.integers(1, len(keys))), tuple(keys))


BODIES = st.one_of(
    st.builds(Network, name=TEXT, nonce=st.binary(min_size=16, max_size=16), keys=key_sets()),
    st.builds(
        Certificate,
        network=DIGEST,
        subject=DIGEST,
        role=st.sampled_from(Role),
        not_before=TIME,
        expires=TIME,
        serial=st.binary(min_size=16, max_size=16),
    ),
    st.builds(Revocation, network=DIGEST, subject=DIGEST, at=TIME),
    st.builds(
        Rotation, network=DIGEST, number=st.integers(1, 2**32 - 1), previous_until=TIME, keys=key_sets()
    ),
    st.builds(
        Charter,
        network=DIGEST,
        number=st.integers(1, 2**32 - 1),
        fields=st.dictionaries(TEXT, TEXT, max_size=8).map(lambda each: tuple(sorted(each.items()))),
    ),
)
SIGNATURES = st.dictionaries(DIGEST, st.binary(min_size=64, max_size=64), max_size=8).map(
    lambda each: tuple(Signature(key, each[key]) for key in sorted(each))
)
STATEMENTS = st.builds(Signed, body=BODIES, signatures=SIGNATURES)


@given(STATEMENTS)
def test_what_is_written_is_read_and_has_one_form(statement):
    data = statement.to_bytes()
    assert Signed.from_bytes(data) == statement
    assert Signed.from_bytes(data).to_bytes() == data


@given(st.binary(max_size=400))
def test_any_bytes_are_a_statement_or_a_named_error(data):
    for read in (Signed.from_bytes, Grant.from_bytes, read_fingerprints):
        try:
            read(data)
        except MalformedStatement:
            continue


@given(STATEMENTS, st.data())
def test_a_statement_with_a_byte_changed_is_another_or_none(statement, data):
    """No two texts for one statement: what is changed reads as something else, or not at all."""
    written = bytearray(statement.to_bytes())
    place = data.draw(st.integers(0, len(written) - 1))
    written[place] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(MalformedStatement):
        assert Signed.from_bytes(bytes(written)) != statement


@given(STATEMENTS, st.integers(1, 200))
def test_a_statement_cut_short_or_with_more_after_it_is_none(statement, count):
    data = statement.to_bytes()
    for wrong in (data[:-count], data + bytes(count)):
        with pytest.raises(MalformedStatement):
            Signed.from_bytes(wrong)


def test_an_issuer_of_an_issuer_is_refused():
    nested = certificate(network(), key("a"))
    for _ in range(2):
        nested = Signed(body=nested.body, signatures=nested.signatures, issuer=nested)
    with pytest.raises(MalformedStatement):
        Signed.from_bytes(nested.to_bytes())


@given(BODIES, BODIES)
def test_a_signature_is_for_one_statement_alone(one, other):
    signed = Signed(body=one).signed_by(KEYS[:1])
    signed.require_signature(signed.signatures[0])
    if one != other:
        with pytest.raises(CertificateForged):
            Signed(body=other).require_signature(signed.signatures[0])


INVITATIONS = st.builds(
    Invitation,
    network=DIGEST,
    issuer=st.just(key("issuer").public_key),
    addresses=st.lists(
        st.sampled_from(["/ip4/192.0.2.7/tcp/4001", "/ip6/2001:db8::1/tcp/1", "/dns4/a.example/tcp/65535"]),
        min_size=1,
        max_size=8,
    ).map(tuple),
    number=st.binary(min_size=8, max_size=8),
    secret=st.binary(min_size=16, max_size=16),
    expires=TIME,
)


@given(INVITATIONS, st.integers(20, 100))
def test_an_invitation_survives_being_copied(invitation, width):
    text = invitation.to_text()
    assert text.isalnum() and text == text.lower()
    wrapped = "\r\n".join(text[i : i + width] for i in range(0, len(text), width))
    for copy in (text, f'  "{text}"\n', text.upper(), wrapped):
        assert Invitation.from_text(copy) == invitation


@given(INVITATIONS, st.data())
def test_an_invitation_that_was_mistyped_is_told_from_one_that_was_not(invitation, data):
    text = invitation.to_text()
    place = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.sampled_from([c for c in "abcdefghijklmnopqrstuvwxyz234567" if c != text[place]]))
    for wrong in (text[:place] + letter + text[place + 1 :], text[:place], text[: place + 1] + text[place:]):
        with pytest.raises(InvalidInvitation):
            Invitation.from_text(wrong)


@given(st.text(max_size=300))
def test_any_text_is_an_invitation_or_a_named_error(text):
    for each in (text, f"gossipfl1{text}"):
        try:
            Invitation.from_text(each)
        except InvalidInvitation:
            continue


VALUES = st.dictionaries(TEXT, st.one_of(st.integers(), st.booleans(), st.none(), TEXT), max_size=10)


@given(VALUES, VALUES, st.binary(min_size=32, max_size=32))
def test_charters_are_alike_if_and_only_if_all_fields_are(one, other, binding):
    ours, theirs = canonical(one), canonical(other)
    require_alike(ours, fingerprints(ours, binding=binding), binding=binding)
    differs = sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))
    if differs:
        with pytest.raises(IncompatibleCharter) as error:
            require_alike(ours, fingerprints(theirs, binding=binding), binding=binding)
        assert differs[0] in str(error.value)


def test_fingerprints_are_of_one_connection():
    fields = canonical({"steps": 1})
    assert fingerprints(fields, binding=b"a" * 32) != fingerprints(fields, binding=b"b" * 32)


def in_another_order(count):
    """Statements of which some part is signed or sent in another order than the one form has, or twice."""
    of, pairs = network(), tuple((f"name {each}", "1") for each in range(count))
    signed = Signed(body=charter(of, {"steps": "1"}).body).signed_by(KEYS[:count])
    yield replace(signed, body=replace(signed.body, fields=pairs[::-1]))
    yield replace(signed, body=replace(signed.body, fields=(*pairs, pairs[-1])))
    yield replace(signed, signatures=signed.signatures[::-1])
    yield replace(signed, signatures=(*signed.signatures, signed.signatures[-1]))


@pytest.mark.parametrize("statement", list(in_another_order(3)))
def test_a_statement_has_one_order(statement):
    with pytest.raises(MalformedStatement, match="not in order"):
        Signed.from_bytes(statement.to_bytes())


def test_a_statement_longer_than_any_is_not_read():
    with pytest.raises(MalformedStatement, match="it is too long"):
        Signed.from_bytes(certificate(network(), key("alice")).to_bytes() + bytes(MOST_STATEMENT_BYTES))


def test_fingerprints_have_one_order():
    one, two = (fingerprints({name: "1"}, binding=b"a" * 32)[1:] for name in ("one", "two"))
    assert list(read_fingerprints(b"\x02" + one + two)) == ["one", "two"]
    for wrong in (two + one, one + one):
        with pytest.raises(MalformedStatement, match="not in order"):
            read_fingerprints(b"\x02" + wrong)


@pytest.mark.parametrize(
    "values", [{"long": "x" * 511}, {"n" * 65: 1}, {f"name {each}": 1 for each in range(65)}]
)
def test_settings_that_fit_no_charter_are_refused(values):
    with pytest.raises(SettingError, match="at most 64 values of 512 characters"):
        canonical(values)


@pytest.mark.parametrize("size", [0, REQUEST_BYTES - 1, REQUEST_BYTES + 1])
def test_a_request_to_join_has_one_length(size):
    assert number_in(bytes(REQUEST_BYTES)) == bytes(8)
    with pytest.raises(MalformedStatement, match="not a request to join"):
        number_in(bytes(size))


def test_a_grant_of_another_network_than_invited_to_admits_nobody():
    of, alice = network(), key("alice")
    grant = Grant(network=of, certificate=certificate(of, alice), statements=())
    same = Grant.from_bytes(grant.to_bytes())
    assert same.authority(network=of.id, subject=alice.public_key, now=NOW).id == of.id
    with pytest.raises(CertificateOfAnotherNetwork):
        same.authority(network=network(name="other").id, subject=alice.public_key, now=NOW)
    with pytest.raises(NotAMember):
        same.authority(network=of.id, subject=key("bob").public_key, now=NOW)
