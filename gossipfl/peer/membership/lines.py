"""Statements as lines of text, which people pass around, and in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from gossipfl.errors import GossipflError, MembershipError
from gossipfl.files import named_errors
from gossipfl.membership import (
    Authority,
    Certificate,
    Charter,
    Network,
    Revocation,
    Role,
    Rotation,
    Signed,
    is_voucher,
)
from gossipfl.membership.texts import decoded, encoded
from gossipfl.moments import moment
from gossipfl.settings.addresses import peer_id_of

__all__ = ["described", "network_of", "read_lines", "to_text"]

_PREFIX: Final = "gossipfl-statement-"
_MOST_BYTES: Final = 64 * 1024 * 1024


def to_text(statements: Iterable[Signed]) -> str:
    """Return statements, complete or not, one a line."""
    return "\n".join(f"{_PREFIX}{encoded(each.to_bytes())}" for each in statements)


def read_lines(text: str) -> list[Signed]:
    """Read statements from their lines, or from a file with such lines.

    Raises
    ------
    MembershipError
        They are not statements.
    HomeError
        The file cannot be read.
    """
    if text.lstrip().lower().startswith(_PREFIX):
        return _from_text(text)
    path = Path(text)
    with named_errors("cannot read the lines"):
        is_file = len(text) < 1024 and path.is_file()
        content = path.open("rb").read(_MOST_BYTES) if is_file else b""
    return _from_text(content.decode("ascii", "replace"))


def _from_text(text: str) -> list[Signed]:
    """Read statements from their lines, which may have been wrapped.

    Raises
    ------
    MembershipError
        The lines are not statements.
    """
    before, *lines = "".join(text.split()).lower().split(_PREFIX)
    statements = []
    try:
        statements = [Signed.from_bytes(decoded(each) or b"") for each in lines]
    except GossipflError:
        statements = []
    if before or not statements:
        raise MembershipError(
            "this is not a statement, or part of it is missing",
            expected=f"a whole line {_PREFIX}… that a command of gossipfl network printed, or a file of them",
        )
    return statements


def described(statement: Signed, authority: Authority | None = None) -> str:
    """Return an unambiguous description of a statement that is about to be signed, as a verb and its objects.

    Parameters
    ----------
    authority : Authority, optional
        What is known of its network; of a charter, the changes are then shown.
    """
    if authority is None:
        return f"{_action(statement, {})}, in network {network_of(statement).hex()[:16]}"
    before = {} if authority.charter is None else dict(authority.charter.fields)
    return f"{_action(statement, before)}, in network {authority.network.name!r}"


def network_of(statement: Signed) -> bytes:
    """Return the id of a statement's network."""
    return statement.body.id if isinstance(statement.body, Network) else statement.body.network


def _action(statement: Signed, before: Mapping[str, str]) -> str:
    body = statement.body
    if isinstance(body, Certificate):
        if is_voucher(statement):
            return f"keeps what {peer_id_of(body.subject)} has revoked as an issuer, and admits no one"
        role = "an issuer, which may admit others" if body.role is Role.ISSUER else "a member"
        return f"makes {peer_id_of(body.subject)} {role}, until {moment(body.expires)}"
    if isinstance(body, Revocation):
        return f"revokes {peer_id_of(body.subject)} permanently"
    if isinstance(body, Rotation):
        keys = ", ".join(each.hex() for each in body.keys.keys)
        return (
            f"makes rotation {body.number}: {body.keys.threshold} of these keys must sign from now on: {keys}"
        )
    if isinstance(body, Charter):
        return f"makes charter {body.number}{_changes(before, dict(body.fields))}"
    return f"creates network {body.name}"


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    if not before:
        return f": {'; '.join(f'{name} = {value}' for name, value in after.items())}"
    changed = "; ".join(
        f"{name} = {after.get(name, 'not set')} (now {before.get(name, 'not set')})"
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    )
    return f", with {changed or 'no changes'}"
