"""``gossipfl network``: found a network, invite and join, see and change who belongs to it."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from gossipfl.cli.network_changes import add_changes

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    help="Found a network, invite and join, see and change who belongs to it.",
    add_completion=False,
    pretty_exceptions_enable=False,
)

add_changes(app)

HomeOption = Annotated[Path, typer.Option("--home", help="Directory of the peer.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
KeysOption = Annotated[int, typer.Option("--keys", help="Network keys; give them to different people.")]
ThresholdOption = Annotated[int, typer.Option("--threshold", help="How many of the keys must sign.")]
KeysToOption = Annotated[
    Path | None,
    typer.Option("--keys-to", help="Directory for the keys; membership/keys in the home if not given."),
]


@app.command()
def create(
    *,
    home: HomeOption,
    name: Annotated[str, typer.Option("--name", help="Name of the network, for people.")] = "network",
    keys: KeysOption = 1,
    threshold: ThresholdOption = 1,
    keys_to: KeysToOption = None,
    days: Annotated[float, typer.Option("--days", help="Days for which this peer may let others in.")] = 3650,
    json_output: JsonOption = False,
) -> None:
    """Found a network: make its keys, its charter from this peer's settings, and its first issuer, this peer.

    An issuer lets others in with its own key. The network keys are needed to make or revoke issuers, for another
    charter, and to rotate the keys: take them off this machine.
    """
    from gossipfl.peer.membership.at_home import HomeOfMember
    from gossipfl.peer.membership.founding import found

    own = HomeOfMember(home)
    founded = found(
        own.store,
        own.identity,
        name=name,
        charter=own.charter(),
        keys=keys,
        threshold=threshold,
        keys_directory=keys_to,
        days=days,
    )
    network, files = founded.authority.id.hex(), [str(each) for each in founded.key_files]
    if json_output:
        typer.echo(
            json.dumps({"network": network, "name": name, "keys": files, "issuer": own.identity.peer_id})
        )
        return
    typer.echo(f"Made network {name}, {network}.")
    typer.echo(
        f"{threshold} of its keys must sign: {', '.join(files)}. Keep them apart, and off this machine."
    )
    typer.echo(
        f"Start the peer: gossipfl peer run --home {home}. Let others join: gossipfl network invite --home {home}"
    )


@app.command()
def invite(
    *,
    home: HomeOption,
    address: Annotated[
        list[str] | None,
        typer.Option(
            "--address",
            help="Where the new peer reaches this one; what this one says of itself if not given.",
        ),
    ] = None,
    hours: Annotated[float, typer.Option("--hours", help="Hours in which the invitation can be used.")] = 24,
    days: Annotated[float, typer.Option("--days", help="Days for which the certificate holds.")] = 365,
    role: Annotated[
        str, typer.Option("--role", help="member, or issuer: that may invite others.")
    ] = "member",
    json_output: JsonOption = False,
) -> None:
    """Print an invitation: one line, good for one peer, once. Who has it can join: pass it on in private."""
    from gossipfl.peer.membership.at_home import HomeOfMember, without_identity
    from gossipfl.peer.membership.issuing import invite as make_invitation
    from gossipfl.peer.membership.issuing import role_named

    own = HomeOfMember(home)
    invitation = make_invitation(
        own.store,
        own.store.authority(),
        own.identity,
        addresses=without_identity(address) if address else own.addresses(),
        role=role_named(role),
        hours=hours,
        days=days,
    )
    if json_output:
        shown = {
            "invitation": invitation.to_text(),
            "expires": invitation.expires,
            "number": invitation.number.hex(),
        }
        typer.echo(json.dumps({**shown, "addresses": list(invitation.addresses)}))
        return
    typer.echo(invitation.to_text())
    typer.echo(
        f"It names {', '.join(invitation.addresses)}, where this peer has to run, and ends "
        f"{_day(invitation.expires)}. The other peer: gossipfl network join INVITATION --home DIR",
        err=True,
    )


@app.command()
def join(
    *,
    invitation: Annotated[str, typer.Argument(help="The line that `gossipfl network invite` printed.")],
    home: HomeOption,
    json_output: JsonOption = False,
) -> None:
    """Join the network that an invitation is for, with the peer in a home that does not run just now."""
    import trio

    from gossipfl.membership import Invitation
    from gossipfl.peer.membership.at_home import HomeOfMember
    from gossipfl.peer.membership.founding import join as join_network

    read = Invitation.from_text(invitation)
    own = HomeOfMember(home)
    with own.home.locked():
        authority = trio.run(join_network, own.store, own.identity, read)
    charter, settings = dict(authority.charter.fields) if authority.charter else {}, own.charter()
    wrong = [
        name for name in sorted({*charter, *settings}) if charter and charter.get(name) != settings.get(name)
    ]
    if json_output:
        typer.echo(
            json.dumps({"network": authority.id.hex(), "name": authority.network.name, "to_correct": wrong})
        )
        return
    typer.echo(f"Peer {own.identity.peer_id} is a member of {authority.network.name}, {authority.id.hex()}.")
    for each in wrong:
        there, here = (values.get(each, "not set") for values in (charter, settings))
        typer.echo(
            f"Correct in {own.home.settings}: {each} is {there} by the network's charter, and {here} here."
        )
    if not wrong:
        typer.echo(f"Start it: gossipfl peer run --home {home}")


@app.command()
def members(*, home: HomeOption, json_output: JsonOption = False) -> None:
    """List whom this peer has let in, and who was put out of the network."""
    from gossipfl.peer.membership.at_home import HomeOfMember
    from gossipfl.peer.membership.ledger import ledger
    from gossipfl.settings.addresses import peer_id_of

    own = HomeOfMember(home)
    revoked = sorted(peer_id_of(each) for each in own.store.authority().revoked)
    entries = ledger(own.store)
    if json_output:
        typer.echo(json.dumps({"invitations": entries, "revoked": revoked}))
        return
    for each in entries:
        if each["peer"] is None:
            open_until = _day(each["invitation_expires"])
            state = (
                f"until {open_until}" if each["invitation_expires"] > time.time() else f"ended {open_until}"
            )
            typer.echo(f"invitation {each['number']} for a new {each['role']}, not used, {state}")
        else:
            out = ", put out" if each["peer"] in revoked else ""
            typer.echo(f"{each['peer']} {each['role']} until {_day(each['expires'])}{out}")
    for peer_id in revoked:
        typer.echo(f"put out: {peer_id}")


@app.command()
def rotate(
    *,
    home: HomeOption,
    keys: KeysOption = 1,
    threshold: ThresholdOption = 1,
    keys_to: KeysToOption = None,
    grace_days: Annotated[
        float,
        typer.Option("--grace-days", help="Days for which what the old keys have signed is still valid."),
    ] = 30,
    json_output: JsonOption = False,
) -> None:
    """Give the network other keys, signed by the old ones; issuers renew the certificates of members."""
    from gossipfl.peer.membership.at_home import HomeOfMember
    from gossipfl.peer.membership.founding import rotate as rotate_keys

    own = HomeOfMember(home)
    founded = rotate_keys(
        own.store, own.identity, keys=keys, threshold=threshold, keys_directory=keys_to, grace_days=grace_days
    )
    files = [str(each) for each in founded.key_files]
    if json_output:
        typer.echo(json.dumps({"rotation": founded.authority.epoch, "keys": files}))
        return
    typer.echo(
        f"Rotation {founded.authority.epoch}: {threshold} of these keys must sign now: {', '.join(files)}."
    )


@app.command()
def show(*, home: HomeOption, json_output: JsonOption = False) -> None:
    """Show the network that a peer belongs to: its keys, its charter, and this peer's certificate."""
    from gossipfl.peer.membership.at_home import HomeOfMember
    from gossipfl.peer.membership.described import network_of

    own = HomeOfMember(home)
    values = network_of(own.store)
    if json_output:
        typer.echo(json.dumps(values))
        return
    _print(values)


@app.command()
def secret(*, home: HomeOption) -> None:
    """Make a secret that lets in who holds it, and print it: the simple way, without certificates.

    Copy the line, in private, to membership/secret in the home of each other peer, readable by its owner alone.
    """
    from gossipfl.peer.membership.at_home import HomeOfMember
    from gossipfl.peer.membership.changing import new_secret

    own = HomeOfMember(home)
    typer.echo(new_secret(own.store))
    typer.echo(f"It is in {own.store.secret_file}; put the line into that file of each other peer.", err=True)


def _print(values: dict[str, Any]) -> None:
    typer.echo(f"network {values['name']}, {values['network']}")
    typer.echo(
        f"keys: {values['threshold']} of {len(values['keys'])} must sign; {values['rotations']} rotations so far"
    )
    for each in values["keys"]:
        typer.echo(f"  {each}")
    own = values["certificate"]
    if own is not None:
        typer.echo(f"this peer: {own['role']} until {_day(own['expires'])}, serial {own['serial']}")
    typer.echo(f"put out: {len(values['revoked'])}")
    if values["charter"] is not None:
        typer.echo(f"charter {values['charter']['number']}, digest {values['charter']['digest']}")
        for name, value in values["charter"]["fields"].items():
            typer.echo(f"  {name} = {value}")


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
