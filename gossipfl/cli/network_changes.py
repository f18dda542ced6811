"""Commands that change who belongs to a network, by the signatures of those who may."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gossipfl.cli.options import HomeOption, JsonOption, tell

if TYPE_CHECKING:
    from gossipfl.membership import Authority, Signed
    from gossipfl.peer.membership.at_home import HomeOfMember

__all__ = ["DaysOption", "DraftOption", "RoleOption", "add_changes", "member_at", "print_lines"]

DaysOption = Annotated[float, typer.Option("--days", help="Days for which the certificate holds.")]
RoleOption = Annotated[str, typer.Option("--role", help="member, or issuer: that may invite others.")]
PeerArgument = Annotated[str, typer.Argument(help="Peer id.")]
LineArgument = Annotated[
    str, typer.Argument(help="A line that begins with gossipfl-statement-, or a file with such lines.")
]
DraftOption = Annotated[
    bool,
    typer.Option(
        "--draft",
        help="Change nothing, and print what others who hold network keys have to sign: gossipfl network sign.",
    ),
]


def member_at(home: Path) -> HomeOfMember:
    """Return the home of a peer, with what belongs to its membership."""
    from gossipfl.peer.membership.at_home import HomeOfMember

    return HomeOfMember(home)


def add_changes(app: typer.Typer) -> None:
    """Add the commands to those of ``gossipfl network``."""
    for command in (admit, revoke, charter, key, sign, apply):
        app.command()(command)


def admit(
    *,
    peer_id: PeerArgument,
    home: HomeOption,
    role: RoleOption = "member",
    days: DaysOption = 365,
    draft: DraftOption = False,
) -> None:
    """Print a certificate for a peer by its id; it becomes the peer's own by `gossipfl network apply` in its home.

    That home has to know the network: for a peer that is a member already, to make it an issuer or to renew it.
    """
    from gossipfl.peer.membership.changing import admit as admit_peer
    from gossipfl.peer.membership.issuing import role_named

    own = member_at(home)
    statement = admit_peer(own.store, own.identity, peer_id, role=role_named(role), days=days, draft=draft)
    print_lines([statement], own.store.authority())


def revoke(
    *,
    peer_id: PeerArgument,
    home: HomeOption,
    draft: DraftOption = False,
    unlisted: Annotated[
        bool,
        typer.Option("--unlisted", help="As an issuer without a record that it has admitted this peer."),
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Revoke a member, permanently. Running peers hear of it at once, and drop it.

    With enough network keys at hand, any member; as an issuer, those that this peer has admitted.
    """
    from gossipfl.peer.membership.changing import revoke as revoke_member

    own = member_at(home)
    done = revoke_member(own.store, own.identity, peer_id, draft=draft, unlisted=unlisted)
    is_known = own.has_met(peer_id)
    if not is_known:
        typer.echo(
            f"Warning: this peer has never met {peer_id}. Compare it with the member's id: a wrong one leaves "
            "the member in the network.",
            err=True,
        )
    if draft:
        print_lines([done.statement], own.store.authority())
        return
    is_by_issuer = done.statement.issuer is not None
    by = "by the issuer that admitted it" if is_by_issuer else "by network keys"
    lines = [
        f"Revoked {peer_id}, {by}." if done.changed else f"{peer_id} was revoked before: nothing changed."
    ]
    if done.changed and not own.home.is_running():
        lines.append(f"Others hear of it once this peer runs: gossipfl peer run --home {home}")
    values = {"revoked": peer_id, "by_issuer": is_by_issuer, "changed": done.changed, "known": is_known}
    tell(values, lines, as_json=json_output)


def charter(*, home: HomeOption, draft: DraftOption = False, json_output: JsonOption = False) -> None:
    """Give the network another charter, that of this peer's settings; all members must follow it to go on."""
    from gossipfl.membership import Charter
    from gossipfl.peer.membership.changing import write_charter

    own = member_at(home)
    statement = write_charter(own.store, own.identity, own.charter(), draft=draft)
    if draft:
        print_lines([statement], own.store.authority())
        return
    number = statement.body.number if isinstance(statement.body, Charter) else None
    tell({"charter": number}, [f"Charter {number} holds now."], as_json=json_output)


def key(
    *,
    to: Annotated[Path, typer.Option("--to", help="Directory for its file.")],
    json_output: JsonOption = False,
) -> None:
    """Make a network key for the next rotation, to be held by one person, and print its public half."""
    from gossipfl.peer.membership.key_files import new_key

    made, path = new_key(to)
    public = made.public_key.hex()
    tell({"key": public, "file": str(path)}, [public], as_json=json_output)


def sign(
    *,
    line: LineArgument,
    keys: Annotated[
        Path, typer.Option("--keys", help="A network key's file, or a directory with such files.")
    ],
    home: Annotated[
        Path | None,
        typer.Option(
            "--home",
            help="Home of a member, to check the line and the keys against its network, and to show what changes.",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Sign without asking.")] = False,
) -> None:
    """Say what a line would do, and add the signatures of network keys.

    Of a file from `network rotate --draft`, the present keys sign the rotation, and the new keys the rest.
    """
    from gossipfl.peer.membership.collecting import require_network
    from gossipfl.peer.membership.collecting import sign as sign_statements
    from gossipfl.peer.membership.key_files import keys_at
    from gossipfl.peer.membership.lines import described, read_lines

    statements = read_lines(line)
    authority = None if home is None else member_at(home).store.authority()
    if authority is not None:
        require_network(statements, authority)
    for each in statements:
        typer.echo(f"This {described(each, authority)}.", err=True)
    signed = sign_statements(statements, keys_at(keys), authority)
    if not yes and not typer.confirm("Sign it?" if len(signed) == 1 else "Sign all of it?", err=True):
        typer.echo("Not signed.", err=True)
        raise typer.Exit(1)
    print_lines(signed, authority, described_before=True)


def apply(*, line: LineArgument, home: HomeOption) -> None:
    """Take in what enough network keys have signed; a running peer acts on it, and tells the others."""
    from gossipfl.peer.membership.collecting import apply as apply_statements
    from gossipfl.peer.membership.lines import described, read_lines

    own, statements = member_at(home), read_lines(line)
    authority = own.store.authority()
    others = apply_statements(own.store, own.identity, statements)
    for each in statements:
        typer.echo(f"Done: this {described(each, authority)}.")
    if others:
        typer.echo("The other issuers get their certificates from this peer while it runs.")


def print_lines(
    statements: Sequence[Signed], authority: Authority | None, *, described_before: bool = False
) -> None:
    """Print statements, signed by as many as are here, what they do, and how many signatures are missing."""
    from gossipfl.peer.membership.collecting import progress
    from gossipfl.peer.membership.lines import described, to_text

    typer.echo(to_text(statements))
    for each in () if described_before else statements:
        typer.echo(f"This {described(each, authority)}.", err=True)
    typer.echo(progress(statements, authority), err=True)
