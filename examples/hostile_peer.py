"""A hostile member of a real network: an ordinary peer that sends lies in place of its models.

It learns, meets others and answers them as every peer does. What it sends are the lies of an attack of
`gossipfl.attacks`, the same functions that a simulation's ``[attack]`` has. Try it on a network of your own::

    gossipfl peer init mallory --bootstrap /ip4/…       # a peer like the others, or a member in rounds
    python examples/hostile_peer.py mallory --attack sign_flip --set scale=2

Its lies are kept in ``mallory/lies``, so that ``gossipfl sim replay`` computes the models of its victims again.
"""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import torch
import trio
from safetensors.torch import save_file

from gossipfl import Peer
from gossipfl.attacks import Liars, SameToAll, find_attack
from gossipfl.errors import GossipflError, SettingError
from gossipfl.peer.gossip.events import State
from gossipfl.peer.permission import Permission
from gossipfl.rounds import Outgoing, Position
from gossipfl.settings import PeerSettings

VERSIONS_KEPT = 16  # a version is told again while others are told already
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
    accomplices : collection of int
        In rounds, numbers of the members that it tells the truth; hostile nodes of a simulation do so, too.
    """

    def __init__(
        self,
        home: Path | str,
        attack: SameToAll,
        *,
        settings: PeerSettings | None = None,
        number: int = 0,
        seed: int = 0,
        accomplices: Collection[int] = (),
    ) -> None:
        super().__init__(home, settings=settings)
        self.attack, self.number, self.seed = attack, torch.tensor([number]), seed
        self.accomplices = frozenset(accomplices)
        self.liars = Liars(attack, self.number, seed=seed)
        self.liars_in_rounds: dict[int, Liars] = {}
        self.told: dict[tuple[int, int], State] = {}

    def _become_ready(self, incarnation, stop):
        """A peer has no setting for this: what encodes its models is given others than its own."""
        super()._become_ready(incarnation, stop)
        learner = incarnation.learner
        if not self.attack.trains:
            learner.allow(Permission(trains=False))
        if self.settings.rounds.algorithm is None:
            outgoing = incarnation.participation.answer.__self__.outgoing
            encode = outgoing.frame

            async def frame(state: State, **how):
                return await encode(self.instead(state, outgoing.incarnation), **how)

            outgoing.frame = frame
        else:
            exchanged, plan = learner._exchanged, learner._plan

            async def lied(position: Position, out: Outgoing, **how):
                lie = self.instead_of_row(position, out, plan, incarnation.number)
                return await exchanged(position, lie, **how)

            learner._exchanged = lied

    def instead(self, state: State, incarnation: int) -> State:
        """The lie that is told in place of a version, the same to everybody."""
        version = incarnation, state.event
        if version not in self.told:
            size = self.task.layout.shared_size
            rows, ages = self.liars.lie(ONLY_ONE, state.nodes.rows[:, :size], state.nodes.ages)
            self.told[version] = replace(state, nodes=state.nodes.with_shared(rows, ages=ages))
            if len(self.told) > VERSIONS_KEPT:
                del self.told[next(iter(self.told))]
            self._keep(f"{incarnation:06d}-{state.event}", row=rows, ages=ages)
        return self.told[version]

    def instead_of_row(self, position: Position, out: Outgoing, plan, incarnation: int) -> Outgoing:
        """The lie that is told in place of the row of an exchange."""
        if out.form.over == "links":
            raise SettingError("a hostile peer sends the same to all", got=plan.name, remedy="Try d_psgd.")
        number, exchange = position
        if exchange not in self.liars_in_rounds:
            own = torch.tensor([plan.number])
            self.liars_in_rounds[exchange] = Liars(self.attack, own, seed=self.seed, exchange=exchange)
        row = self.liars_in_rounds[exchange].rows(ONLY_ONE, out.sent)
        told = list(out.payloads)
        if plan.ring is None:
            payload = out.codec.encode(row[0].contiguous(), key=number)
            row = out.codec.decode(payload, row.shape[1])[None]
            told = [each for each in told if each not in self.accomplices]
            lying = replace(out, payloads=out.payloads | dict.fromkeys(told, payload))
        else:  # each recipient is sent an encoding of its own
            told = list(plan.mixing.recipients(number, out.form, plan.number))
            lying = replace(out, sent=row, payloads={})
        self._keep(f"{incarnation:06d}-{number}-{exchange}", row=row, told=torch.tensor(told))
        return lying

    def _keep(self, name: str, **tensors: torch.Tensor) -> None:
        directory = self.home.directory / "lies"
        directory.mkdir(exist_ok=True)
        save_file(
            {key: kept.contiguous() for key, kept in tensors.items()}, directory / f"{name}.safetensors"
        )


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
