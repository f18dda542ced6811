"""A hostile member of a real network: an ordinary peer that sends lies in place of its models.

It learns, meets others and answers them as every peer does. What it sends are the lies of an attack of
`gossipfl.attacks`, the same functions that a simulation's ``[attack]`` has. Try it on a network of your own::

    gossipfl peer init mallory --bootstrap /ip4/…       # a peer like the others
    python examples/hostile_peer.py mallory --attack sign_flip --set scale=2

Its lies are kept in ``mallory/lies``, so that ``gossipfl sim replay`` computes the models of its victims again.
"""

from __future__ import annotations

import argparse
import tomllib
from dataclasses import replace
from pathlib import Path

import torch
import trio
from safetensors.torch import save_file

from gossipfl import Peer
from gossipfl.attacks import Liars, SameToAll, find_attack
from gossipfl.errors import GossipflError, SettingError
from gossipfl.peer.gossip.events import State
from gossipfl.settings import PeerSettings

ONLY_ONE = torch.zeros(1, dtype=torch.int64)


class HostilePeer(Peer):
    """A peer that lies from its start on.

    Parameters
    ----------
    home, settings
        As of `gossipfl.Peer`.
    attack : SameToAll
        What it sends in place of its models.
    number, seed : int
        Its number in the network, and the seed of the attack's draws.
    """

    def __init__(
        self,
        home: Path | str,
        attack: SameToAll,
        *,
        settings: PeerSettings | None = None,
        number: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(home, settings=settings)
        self.liars = Liars(attack, torch.tensor([number]), seed=seed)
        self.told: dict[tuple[int, int], State] = {}

    async def run(self) -> None:
        """Take part, and lie."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._lie)
            await super().run()
            nursery.cancel_scope.cancel()

    async def _lie(self) -> None:
        """A peer has no setting for this: its encoder is given other models than its own."""
        await self.ready.wait()
        outgoing = self._incarnation.participation.answer.__self__.outgoing
        encode = outgoing.frame

        async def frame(state: State, **how):
            return await encode(self.instead(state, outgoing.incarnation), **how)

        outgoing.frame = frame

    def instead(self, state: State, incarnation: int) -> State:
        """The lie that is told in place of a version, the same to everybody."""
        version = incarnation, state.event
        if version not in self.told:
            size = self.task.layout.shared_size
            rows, ages = self.liars.lie(ONLY_ONE, state.nodes.rows[:, :size], state.nodes.ages)
            self.told = {version: replace(state, nodes=state.nodes.with_shared(rows, ages=ages))}
            directory = self.home.directory / "lies"
            directory.mkdir(exist_ok=True)
            save_file({"row": rows, "ages": ages}, directory / f"{incarnation:06d}-{state.event}.safetensors")
        return self.told[version]


def attack_of(name: str, parameters: list[str]) -> SameToAll:
    """An attack by its name, with parameters written as KEY=VALUE."""
    attack = find_attack(name)
    if not issubclass(attack, SameToAll):
        raise SettingError("a peer can only do what a single node can", got=name, remedy="Try sign_flip.")
    return attack(**tomllib.loads("\n".join(parameters)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("home", type=Path, help="a peer's home, made by `gossipfl peer init`")
    parser.add_argument(
        "--attack", default="sign_flip", help="an attack of single nodes (docs/robustness.md)"
    )
    parser.add_argument("--set", action="append", default=[], help="a parameter of the attack, KEY=VALUE")
    arguments = parser.parse_args()
    try:
        trio.run(HostilePeer(arguments.home, attack_of(arguments.attack, arguments.set)).run)
    except GossipflError as error:
        raise SystemExit(str(error)) from None
