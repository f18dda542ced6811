"""``gossipfl network``: create a network, invite and join, see and change who belongs to it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from gossipfl.cli.network_changes import (
    DaysOption,
    DraftOption,
    RoleOption,
    add_changes,
    member_at,
    print_lines,
)
from gossipfl.cli.options import HomeOption, JsonOption, command_group, tell
from gossipfl.moments import moment

__all__ = ["app"]

app = command_group("Create a network, invite and join, see and change who belongs to it.")

add_changes(app)

ThresholdOption = Annotated[
    int | None,
    typer.Option(
        "--threshold",
        help="How many of the keys must sign; a majority, or after a rotation as many as before.",
    ),
]
KeysToOption = Annotated[
    Path | None,
    typer.Option("--keys-to", help="Directory for the keys; membership/keys in the home if not given."),
]


@app.command()
def create(
    *,
    home: HomeOption,
    name: Annotated[str, typer.Option("--name", help="Name of the network, for people.")] = "network",
    keys: Annotated[int, typer.Option("--keys", help="Network keys; give them to different people.")] = 1,
    threshold: ThresholdOption = None,
    keys_to: KeysToOption = None,
    days: Annotated[float, typer.Option("--days", help="Days for which this peer may admit others.")] = 3650,
    json_output: JsonOption = False,
) -> None:
    """Create a network: make its keys, its charter from this peer's settings, and its first issuer, this peer.

    An issuer admits others with its own key. The network keys are needed to make or revoke issuers, for another
    charter, and to rotate the keys: take them off this machine.
    """
    from gossipfl.errors import StatisticsMissing
    from gossipfl.peer.membership.founding import found

    own = member_at(home)
    charter, start = None, f"Start the peer: gossipfl peer run --home {home}."
    try:
        charter = own.charter()
    except StatisticsMissing:
        start = (
            "It has no charter yet, as the task waits for common statistics: "
            f"gossipfl stats gather --home {home}. Then: gossipfl network charter --home {home}."
        )
    founded = found(
        own.store,
        own.identity,
        name=name,
        charter=charter,
        keys=keys,
        threshold=threshold,
        keys_directory=keys_to,
        days=days,
    )
    network, files = founded.authority.id.hex(), [str(each) for each in founded.key_files]
    tell(
        {"network": network, "name": name, "keys": files, "issuer": own.identity.peer_id},
        [
            f"Made network {name}, {network}.",
            f"{founded.authority.keys.threshold} of its {keys} keys must sign: {', '.join(files)}.",
            "Keep them apart, and off this machine.",
            f"{start} Let others join: gossipfl network invite --home {home}",
        ],
        as_json=json_output,
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
    days: DaysOption = 365,
    role: RoleOption = "member",
    json_output: JsonOption = False,
) -> None:
    """Print an invitation: one line, good for one peer, once. Who has it can join: pass it on in private."""
    from gossipfl.peer.membership.at_home import without_identity
    from gossipfl.peer.membership.issuing import invite as make_invitation
    from gossipfl.peer.membership.issuing import role_named

    own = member_at(home)
    invitation = make_invitation(
        own.store,
        own.store.authority(),
        own.identity,
        addresses=without_identity(address) if address else own.addresses(),
        role=role_named(role),
        hours=hours,
        days=days,
    )
    shown = {
        "invitation": invitation.to_text(),
        "expires": invitation.expires,
        "number": invitation.number.hex(),
        "addresses": list(invitation.addresses),
    }
    tell(shown, [invitation.to_text()], as_json=json_output)
    if not json_output:
        typer.echo(
            f"It names {', '.join(invitation.addresses)}, where this peer has to run, and ends "
            f"{moment(invitation.expires)}. The other peer: gossipfl network join INVITATION --home DIR",
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

    from gossipfl.errors import StatisticsMissing
    from gossipfl.membership import Invitation
    from gossipfl.peer.membership.founding import join as join_network

    read = Invitation.from_text(invitation)
    own = member_at(home)
    with own.home.locked():
        authority = trio.run(join_network, own.store, own.identity, read)
    charter = dict(authority.charter.fields) if authority.charter else {}
    settings, start = charter, f"Start it: gossipfl peer run --home {home}"
    try:
        settings = own.charter()
    except StatisticsMissing:
        start = f"Its task waits for common statistics: gossipfl stats gather --home {home}"
    wrong = [
        name for name in sorted({*charter, *settings}) if charter and charter.get(name) != settings.get(name)
    ]
    network, name = authority.id.hex(), authority.network.name
    lines = [f"Peer {own.identity.peer_id} is a member of {name}, {network}."]
    for each in wrong:
        there, here = (values.get(each, "not set") for values in (charter, settings))
        lines.append(
            f"Correct in {own.home.settings}: {each} is {there} by the network's charter, and {here} here."
        )
    if not wrong:
        lines.append(start)
    tell({"network": network, "name": name, "to_correct": wrong}, lines, as_json=json_output)


@app.command()
def members(*, home: HomeOption, json_output: JsonOption = False) -> None:
    """List the peers that this one has admitted, its open invitations, and the peers that were revoked."""
    from gossipfl.peer.membership.ledger import ledger
    from gossipfl.settings.addresses import peer_id_of

    own = member_at(home)
    revoked = sorted(peer_id_of(each) for each in own.store.authority().revoked)
    entries = ledger(own.store)
    lines = []
    for each in entries:
        if each["peer"] is None:
            ends = each["invitation_expires"]
            state = f"{'until' if ends > time.time() else 'ended'} {moment(ends)}"
            lines.append(f"invitation {each['number']} for a new {each['role']}, not used, {state}")
        else:
            out = ", revoked" if each["peer"] in revoked else ""
            lines.append(f"{each['peer']} {each['role']} until {moment(each['expires'])}{out}")
    shown = {each["peer"] for each in entries}
    lines += [f"revoked: {peer_id}" for peer_id in revoked if peer_id not in shown]
    if not lines:
        lines = ["This peer has issued no invitations, and knows of no revoked peers."]
    tell({"invitations": entries, "revoked": revoked}, lines, as_json=json_output)


@app.command()
def withdraw(
    *,
    number: Annotated[str, typer.Argument(help="Its number, from gossipfl network members.")],
    home: HomeOption,
) -> None:
    """Withdraw an invitation that nobody has used."""
    from gossipfl.peer.membership.ledger import withdraw as withdraw_invitation

    withdraw_invitation(member_at(home).store, number)
    typer.echo(f"Withdrew invitation {number}: nobody can use it any more.")


@app.command()
def rotate(
    *,
    home: HomeOption,
    keys: Annotated[
        int | None, typer.Option("--keys", help="New network keys; as many as now if not given.")
    ] = None,
    threshold: ThresholdOption = None,
    keys_to: KeysToOption = None,
    grace_days: Annotated[
        float,
        typer.Option("--grace-days", help="Days for which what the old keys have signed is still valid."),
    ] = 30,
    key: Annotated[
        list[str] | None,
        typer.Option(
            "--key", help="With --draft: public half of a new key (gossipfl network key); repeatable."
        ),
    ] = None,
    issuer: Annotated[
        list[str] | None,
        typer.Option(
            "--issuer",
            help="With --draft: peer id of an issuer that this peer has not admitted; repeatable.",
        ),
    ] = None,
    draft: DraftOption = False,
    json_output: JsonOption = False,
) -> None:
    """Give the network other keys, signed by the old ones; issuers renew the certificates of members.

    With --draft, for keys that different people hold: prints the rotation for the present keys to sign, and for
    the new ones the charter, all revocations and the issuers' certificates. Keep it in a file, for network sign.
    """
    from gossipfl.peer.membership.drafting import draft_rotation
    from gossipfl.peer.membership.founding import rotate as rotate_keys

    own = member_at(home)
    if draft:
        drafted = draft_rotation(
            own.store, key or [], threshold=threshold, grace_days=grace_days, issuers=issuer or []
        )
        print_lines(drafted, own.store.authority())
        return
    for name, given in (("--key", key), ("--issuer", issuer)):
        if given:
            raise typer.BadParameter("needs --draft: whoever holds the old keys signs", param_hint=name)
    founded = rotate_keys(
        own.store, own.identity, keys=keys, threshold=threshold, keys_directory=keys_to, grace_days=grace_days
    )
    rotation, files = founded.authority.epoch, [str(each) for each in founded.key_files]
    threshold = founded.authority.keys.threshold
    line = f"Rotation {rotation}: {threshold} of these {len(files)} keys must sign now: {', '.join(files)}."
    tell({"rotation": rotation, "keys": files}, [line], as_json=json_output)


@app.command()
def show(*, home: HomeOption, json_output: JsonOption = False) -> None:
    """Show the network that a peer belongs to: its keys, its charter, and this peer's certificate."""
    from gossipfl.peer.membership.described import network_of

    own = member_at(home)
    values = network_of(own.store)
    tell(values, _lines(values), as_json=json_output)


@app.command()
def secret(*, home: HomeOption) -> None:
    """Make a secret that admits whoever holds it, and print it: the simple way, without certificates.

    Copy the line, in private, to membership/secret in the home of each other peer, readable by its owner alone.
    """
    from gossipfl.peer.membership.changing import new_secret

    own = member_at(home)
    typer.echo(new_secret(own.store))
    typer.echo(f"It is in {own.store.secret_file}; put the line into that file of each other peer.", err=True)


def _lines(values: dict[str, Any]) -> Iterator[str]:
    yield f"network {values['name']}, {values['network']}"
    yield f"keys: {values['threshold']} of {len(values['keys'])} must sign; rotated {values['rotations']} ×"
    yield from (f"  {each}" for each in values["keys"])
    own = values["certificate"]
    if own is not None:
        yield f"this peer: {own['role']} until {moment(own['expires'])}, serial {own['serial']}"
    yield f"revoked: {len(values['revoked'])}"
    if values["charter"] is not None:
        yield f"charter {values['charter']['number']}, digest {values['charter']['digest']}"
        yield from (f"  {name} = {value}" for name, value in values["charter"]["fields"].items())
