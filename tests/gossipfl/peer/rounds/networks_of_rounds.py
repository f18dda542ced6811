"""Networks of rounds in one program: peers with ports and a roster, before any of them runs."""

import socket
from contextlib import ExitStack
from pathlib import Path

from gossipfl.network import load_or_create_identity
from gossipfl.peer import Peer
from tests.integration.peers import quick_settings

#: What is the same at all members, unless a test says otherwise.
ROUNDS = {"algorithm": "d_psgd", "gathering": 30.0, "deadline": 10.0}


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens at now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def members(directory: Path, count: int) -> tuple[list[str], list[str]]:
    """Make identities: where each member listens, and the roster of all."""
    listen, roster = [], []
    for number, port in enumerate(free_ports(count)):
        home = directory / f"peer-{number}"
        home.mkdir(mode=0o700)
        listen.append(f"/ip4/127.0.0.1/tcp/{port}")
        roster.append(f"{listen[-1]}/p2p/{load_or_create_identity(home).peer_id}")
    return listen, roster


def settings_of(number: int, listen: list[str], roster: list[str], *, task=None, **tables):
    """Settings of one member; its task has the member's number among its options."""
    rounds = {**ROUNDS, "topology": f"ring:{len(roster)}", "roster": roster, **tables.pop("rounds", {})}
    network = {"listen": [listen[number]]}
    if task is not None:
        tables["task"] = {"name": task}
    return quick_settings(number, rounds=rounds, network=network, **tables)


def peers_in_rounds(directory: Path, count: int, **tables) -> list[Peer]:
    """Peers that have not been started."""
    listen, roster = members(directory, count)
    return [
        Peer(directory / f"peer-{number}", settings=settings_of(number, listen, roster, **tables))
        for number in range(count)
    ]
