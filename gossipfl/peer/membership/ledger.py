"""The ledger of a peer's invitations, and of the peers that joined by them."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass, replace
from typing import Any

from gossipfl.errors import GossipflError, MembershipError, NotAMember
from gossipfl.files import named_errors, synchronise_directory, write_atomically
from gossipfl.membership import Certificate, Role, Signed
from gossipfl.membership.invitations import INVITATION_SECRET_BYTES, NUMBER_BYTES
from gossipfl.peer.membership.store import MembershipStore
from gossipfl.settings.addresses import peer_id_of
from topology.parsing import json_of

__all__ = [
    "Entry",
    "admitted_by_hand",
    "certificates_of",
    "certificates_of_issuers",
    "keep_for",
    "ledger",
    "note_renewal",
    "read_entry",
    "withdraw",
    "write_entry",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An invitation as stored by the peer that issued it.

    Parameters
    ----------
    number, secret : str
        In hexadecimal.
    role : str
        ``member`` or ``issuer``.
    expires : int
        End of the invitation, in seconds since 1970.
    days : float
        Validity of the certificate.
    used_by : str or None
        Peer id.
    certificate : str or None
        The newest certificate issued, in hexadecimal, which that peer gets again if it asks again.
    """

    number: str
    secret: str
    role: str
    expires: int
    days: float
    used_by: str | None = None
    certificate: str | None = None


def read_entry(store: MembershipStore, number: bytes) -> Entry | None:
    """Read the entry of an invitation; None if there is none with this number.

    Raises
    ------
    NotAMember
        Its file cannot be read.
    """
    path = store.invitations_directory / f"{number.hex()}.json"
    try:
        return Entry(**json_of(path.read_bytes())) if path.is_file() else None
    except (OSError, ValueError, OverflowError, TypeError) as error:
        raise NotAMember("the invitation cannot be read here", got=type(error).__name__) from error


def write_entry(store: MembershipStore, entry: Entry) -> None:
    """Store the entry of an invitation durably."""
    directory = store.invitations_directory
    with named_errors(f"cannot write into {directory}"):
        for each in (store.directory, directory):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(directory / f"{entry.number}.json", json.dumps(asdict(entry)).encode())


def admitted_by_hand(store: MembershipStore, certificate: Signed, *, days: float) -> None:
    """Store the entry of a peer that was admitted without an invitation; its secret is told to no one."""
    body = certificate.body
    assert isinstance(body, Certificate)  # noqa: S101  (the caller has issued it)
    entry = Entry(
        number=secrets.token_hex(NUMBER_BYTES),
        secret=secrets.token_hex(INVITATION_SECRET_BYTES),
        role=body.role.name.lower(),
        expires=0,
        days=days,
        used_by=peer_id_of(body.subject),
        certificate=certificate.to_bytes().hex(),
    )
    write_entry(store, entry)


def note_renewal(store: MembershipStore, peer_id: str, certificate: Signed) -> None:
    """Store the certificate that now holds for a peer that this one has admitted.

    Raises
    ------
    MembershipError, HomeError
        The ledger is damaged, or cannot be read or written.
    """
    for entry, before in _entries(store):
        if (
            entry.used_by == peer_id
            and before is not None
            and (before.issuer is None) == (certificate.issuer is None)
        ):
            write_entry(store, replace(entry, certificate=certificate.to_bytes().hex()))


def keep_for(store: MembershipStore, certificate: Signed, *, days: float) -> None:
    """Store a certificate that network keys have signed for another peer, which gets it from this one."""
    body = certificate.body
    assert isinstance(body, Certificate)  # noqa: S101  (the caller has verified it)
    name = peer_id_of(body.subject)
    if any(each.issuer is None for each in certificates_of(store, name)):
        note_renewal(store, name, certificate)
    else:
        admitted_by_hand(store, certificate, days=days)


def certificates_of(store: MembershipStore, peer_id: str) -> list[Signed]:
    """Return the certificates that this peer has issued to another, or keeps for it."""
    return [certificate for entry, certificate in _entries(store) if certificate and entry.used_by == peer_id]


def withdraw(store: MembershipStore, number: str) -> None:
    """Delete an invitation that nobody has used, so that nobody can.

    Raises
    ------
    MembershipError
        There is none with this number, or a peer has used it.
    HomeError
        It cannot be deleted.
    """
    entry = next((each for each, _ in _entries(store) if each.number == number), None)
    if entry is None:
        raise MembershipError(
            "this peer issued no invitation with this number",
            expected="a number as `gossipfl network members` prints it",
            got=repr(number[:40]),
        )
    if entry.used_by is not None:
        raise MembershipError(
            "the invitation was used",
            got=f"peer {entry.used_by}",
            remedy="To exclude that peer: `gossipfl network revoke PEER_ID`.",
        )
    path = store.invitations_directory / f"{entry.number}.json"
    with named_errors(f"cannot delete {path}"):
        path.unlink()
        synchronise_directory(path.parent)


def ledger(store: MembershipStore) -> list[dict[str, Any]]:
    """Return all invitations of this peer, without their secrets, and the peers that used them.

    A peer that was invited more than once is listed once, with the certificate that holds longest.
    """
    listed: dict[str, dict[str, Any]] = {}
    for entry, certificate in _entries(store):
        body = certificate.body if certificate else None
        own = body if isinstance(body, Certificate) else None
        values: dict[str, Any] = {
            "number": entry.number,
            "role": entry.role if own is None else own.role.name.lower(),
            "invitation_expires": entry.expires,
            "peer": entry.used_by,
            "expires": None if own is None else own.expires,
            "serial": None if own is None else own.serial.hex(),
            "signed_by": None if certificate is None else "issuer" if certificate.issuer else "network keys",
        }
        name = entry.used_by or entry.number
        before = listed.get(name, values)
        listed[name] = max(before, values, key=lambda each: each["expires"] or 0)
        if "network keys" in (before["signed_by"], values["signed_by"]):
            listed[name]["signed_by"] = (
                "network keys"  # an issuer's revocation would not reach that certificate
            )
    return list(listed.values())


def certificates_of_issuers(store: MembershipStore) -> list[Certificate]:
    """Return the newest certificates of the issuers that this peer has admitted."""
    newest: dict[bytes, Certificate] = {}
    for _, certificate in _entries(store):
        body = certificate.body if certificate else None
        if isinstance(body, Certificate) and body.role is Role.ISSUER:
            newest[body.subject] = max(newest.get(body.subject, body), body, key=lambda each: each.expires)
    return list(newest.values())


def _entries(store: MembershipStore) -> list[tuple[Entry, Signed | None]]:
    """Return all entries, by number, each with its certificate."""
    directory = store.invitations_directory
    with named_errors(f"cannot look into {directory}"):
        paths = sorted(directory.glob("*.json")) if directory.is_dir() else []
        contents = [(path, path.read_bytes()) for path in paths]
    entries = []
    for path, content in contents:
        try:
            entry = Entry(**json_of(content))
            certificate = Signed.from_bytes(bytes.fromhex(entry.certificate)) if entry.certificate else None
        except (ValueError, OverflowError, TypeError, GossipflError) as error:
            raise MembershipError(f"{path} is damaged", got=str(error)) from error
        entries.append((entry, certificate))
    return entries
