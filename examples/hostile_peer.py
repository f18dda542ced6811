"""Hostile members of a real network: ordinary peers that send lies in place of their models.

They learn, meet others and answer them as every peer does. What they send are the lies of an attack of
`gossipfl.attacks`, the same functions that a simulation's ``[attack]`` has. Try it on a network of your own, in
this repository::

    gossipfl peer init mallory --bootstrap /ip4/…       # a peer like the others, or a member in rounds
    python -m examples.hostile_peer mallory --attack sign_flip --set scale=2

Several homes are accomplices: they are run in this process, and tell each other the truth in rounds. An aimed
attack in rounds (ALIE, dissensus, spectral …) waits for the rows of the honest, puts together what all accomplices
received, and sends each honest neighbour another lie.

With ``--views poison`` they ask for others many times as often as the honest, and tell of each other alone; with
``--views invent`` they tell of members that do not exist; ``--sybils 5`` makes five further identities of each;
with ``--everywhere`` they send rows in rounds to those, too, who are no neighbours.

Lies are kept in ``mallory/lies``, so that ``gossipfl sim replay`` computes the models of their victims again.
"""

from __future__ import annotations

import argparse
import shutil
import tomllib
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch
import trio
from safetensors.torch import save_file

from examples.accomplices import Accomplices, aimed_row, invention
from examples.false_labels import falsified
from gossipfl import Peer
from gossipfl.attacks import Aimed, Attack, Liars, Poisoned, find_attack
from gossipfl.errors import ExchangeFailed, GossipflError, SettingError
from gossipfl.network import load_or_create_identity
from gossipfl.peer.gossip.events import State
from gossipfl.peer.permission import Permission
from gossipfl.rounds import Outgoing, Position, read_roster
from gossipfl.settings import PeerSettings, load_settings
from gossipfl.wire import View, encode

VERSIONS_KEPT = 16  # a version is told again while others are told already
ONLY_ONE = torch.zeros(1, dtype=torch.int64)
PUSHES = 10  # how often a member that poisons views pushes itself, over the rate of the honest


class HostilePeer(Peer):
    """A peer that lies from its start on.

    Parameters
    ----------
    home, settings
        As of `gossipfl.Peer`.
    attack : Attack
        What it sends in place of its models, or trains on in place of its labels.
    number, seed : int
        Its number in the network, and the seed of the attack's draws.
    accomplices : collection of int
        In rounds, numbers of the members that it tells the truth; hostile nodes of a simulation do so, too.
    together : Accomplices, optional
        With whom it shares what it knows; by default with nobody.
    views : {'honest', 'poison', 'invent'}
        Of whom it tells others.
    begins : int
        Round, or in gossip the event, from which on it lies.
    everywhere : bool
        In rounds, whether it sends rows to those, too, who are not its neighbours.
    """

    def __init__(
        self,
        home: Path | str,
        attack: Attack,
        *,
        settings: PeerSettings | None = None,
        number: int = 0,
        seed: int = 0,
        accomplices: Collection[int] = (),
        together: Accomplices | None = None,
        views: str = "honest",
        everywhere: bool = False,
        begins: int = 0,
    ) -> None:
        if isinstance(attack, Poisoned):
            settings = falsified(settings or load_settings(Path(home) / "peer.toml"), attack)
        super().__init__(home, settings=settings)
        self.attack, self.number, self.seed = attack, torch.tensor([number]), seed
        self.accomplices, self.views, self.everywhere = frozenset(accomplices), views, everywhere
        self.begins = begins
        self.together = Accomplices(1) if together is None else together
        self.together.peers.append(self)
        self.peer_id = load_or_create_identity(self.home.directory).peer_id
        in_rounds = self.settings.rounds.algorithm is not None
        if not in_rounds and not isinstance(attack, Poisoned):
            self.liars = Liars(attack, self.number, seed=seed)
        self.liars_in_rounds: dict[int, Liars] = {}
        self.told: dict[tuple[int, int], State] = {}

    async def run(self) -> None:
        """Take part, and push itself into others' views where it is to."""
        async with trio.open_nursery() as nursery:
            if self.views != "honest":
                nursery.start_soon(self._push_itself)
            await super().run()
            nursery.cancel_scope.cancel()

    def _become_ready(self, incarnation, stop):
        """A peer has no setting for this: what encodes its models is given others than its own."""
        super()._become_ready(incarnation, stop)
        learner = incarnation.learner
        if not self.attack.trains and self.begins == 0:
            learner.allow(Permission(trains=False))
        if isinstance(self.attack, Poisoned):
            return  # its data are the lie
        if self.settings.rounds.algorithm is None:
            self._lie_in_gossip(incarnation, learner)
        else:
            self._lie_in_rounds(incarnation, learner)

    def _lie_in_gossip(self, incarnation, learner) -> None:
        outgoing = incarnation.participation.answer.__self__.outgoing
        encode_true, work = outgoing.frame, learner.worked

        async def frame(state: State, **how):
            return await encode_true(self.instead(state, outgoing.incarnation), **how)

        async def worked(batch, clock):
            for each in batch:
                if each.part is None:
                    of_friend = torch.tensor([self.together.are(each.sender)])
                    self.liars.hear(ONLY_ONE, each.message.shared, of_friend)
            return await work(batch, clock)

        outgoing.frame, learner.worked = frame, worked

    def _lie_in_rounds(self, incarnation, learner) -> None:
        exchanged, plan = learner.way.exchange, learner.plan
        if isinstance(self.attack, Aimed) and (
            plan.ring is not None or any(plan.previews(each) for each in range(len(plan.forms)))
        ):
            raise SettingError(
                "an aimed attack needs the rows of others before it sends its own, and here it has none",
                got=plan.name,
                remedy="Try sign_flip, or an algorithm without masked sums or summaries.",
            )

        async def lied(position: Position, out: Outgoing, **how: bool):
            if out.form.over == "links":
                raise SettingError(
                    "a hostile peer lies about a row, not about links", got=plan.name, remedy="Try d_psgd."
                )
            if not self.attack.trains and position[0] == self.begins - 1:
                learner.allow(Permission(trains=False))  # from the next round on
            if not how["sends"] or position[0] < self.begins:
                return await exchanged(position, out, **how)
            if isinstance(self.attack, Aimed):
                return await self._lied_to_each(learner, position, out, incarnation.number)
            lie = self.instead_of_row(position, out, plan, incarnation.number)
            result = await exchanged(position, lie, **how)
            neighbours = plan.mixing.recipients(position[0], out.form, plan.number)
            return replace(result, untaken=tuple(each for each in result.untaken if each in neighbours))

        learner.way.exchange = lied

    def instead(self, state: State, incarnation: int) -> State:
        """The lie that is told in place of a version, the same to everybody."""
        version = incarnation, state.event
        if state.event < self.begins:
            return state
        if not self.attack.trains:
            self._incarnation.learner.allow(Permission(trains=False))
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
            if self.everywhere:
                others = {*range(len(plan.roster))} - {plan.number, *self.accomplices}
                lying = replace(out, payloads=lying.payloads | dict.fromkeys(sorted(others), payload))
        else:  # each recipient is sent an encoding of its own
            told = list(plan.mixing.recipients(number, out.form, plan.number))
            lying = replace(out, sent=row, payloads={})
        self._keep(f"{incarnation:06d}-{number}-{exchange}", row=row, told=torch.tensor(told))
        return lying

    async def _lied_to_each(self, learner, position: Position, out: Outgoing, incarnation: int):
        """Tell accomplices the truth, hear the honest, and then tell each of those what harms it."""
        plan, exchanger, framing = learner.plan, learner.way.exchanger, learner.way.framing
        place, codec = plan.on_the_wire(position), out.codec
        truth = {each: payload for each, payload in out.payloads.items() if each in self.accomplices}
        patient = replace(exchanger, deadline=exchanger.deadline / 2)
        heard = await patient.exchange(framing.frames(place, truth, codec=codec.name), out.neighbours)
        own = {plan.number: out.sent[0], **{number: got.row for number, got in heard.received.items()}}
        known = await self.together.pooled(position, own, seconds=exchanger.deadline / 4)
        lies, payloads = {}, {}
        for each in out.payloads:
            if each not in self.accomplices:
                lie = aimed_row(
                    self.attack,
                    each,
                    known,
                    position=position,
                    out=out,
                    plan=plan,
                    accomplices=self.accomplices,
                )
                payloads[each] = codec.encode(lie.contiguous(), key=position[0])
                lies[each] = codec.decode(payloads[each], len(lie))
        if lies:
            row, told = torch.stack(list(lies.values())), torch.tensor(list(lies))
            self._keep(f"{incarnation:06d}-{position[0]}-{position[1]}", row=row, told=told)
        sent = await exchanger.exchange(framing.frames(place, payloads, codec=codec.name), ())
        return replace(
            heard,
            untaken=tuple(sorted({*heard.untaken, *sent.untaken})),
            unsent=tuple(sorted({*heard.unsent, *sent.unsent})),
            too_late=sent.too_late,
        )

    async def _push_itself(self) -> None:
        """Ask all who are known for others, far more often than an honest peer; and answer with lies."""
        await self.ready.wait()
        view, host = self._incarnation.view, self._incarnation.host
        true_answer, asked = view.asked_by, set()
        invented = [invention(index) for index in range(10)]

        def told(peer_id, descriptors, *, scope):
            true_answer(peer_id, descriptors, scope=scope)
            friends = [each for each in self.together.peers if each is not self and each.ready.is_set()]
            friends = [each._incarnation.host.announcement() for each in friends]
            return (host.announcement(), *(invented if self.views == "invent" else friends[:10]))

        async def push(peer):
            own = View(task=self.task.fingerprint, peers=(host.announcement(),))
            with suppress(ExchangeFailed, GossipflError):
                await host.exchange(peer.peer_id, peer.addresses, encode(own), seconds=2.0)
            asked.discard(peer.peer_id)

        view.asked_by = told
        async with trio.open_nursery() as nursery:
            while True:
                for peer in view.book.known:
                    if peer.peer_id not in asked and not self.together.are(peer.peer_id):
                        asked.add(peer.peer_id)
                        nursery.start_soon(push, peer)
                await trio.sleep(self.settings.view.period / PUSHES)

    def _keep(self, name: str, **tensors: torch.Tensor) -> None:
        directory = self.home.directory / "lies"
        directory.mkdir(exist_ok=True)
        save_file(
            {key: kept.contiguous() for key, kept in tensors.items()}, directory / f"{name}.safetensors"
        )


def sybils_of(home: Path, count: int) -> list[Path]:
    """Homes of further identities with a home's settings, made where they do not exist yet."""
    homes = [home / "sybils" / str(index) for index in range(count)]
    for each in homes:
        each.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not (each / "peer.toml").exists():
            shutil.copy(home / "peer.toml", each / "peer.toml")
    return homes


def attack_of(name: str, parameters: list[str]) -> Attack:
    """An attack by its name, with parameters written as KEY=VALUE."""
    return find_attack(name)(**tomllib.loads("\n".join(parameters)))


def hostile_peers(
    homes: list[Path], attack: Attack, *, views: str = "honest", everywhere: bool = False, begins: int = 0
) -> list[HostilePeer]:
    """Accomplices, one for each home."""
    together = Accomplices(len(homes))
    peers = [
        HostilePeer(
            home, attack, together=together, views=views, everywhere=everywhere, begins=begins, number=number
        )
        for number, home in enumerate(homes)
    ]
    for each in peers:
        if each.settings.rounds.algorithm is not None:
            roster = read_roster(each.settings.rounds, directory=each.home.directory)
            each.accomplices = frozenset(
                roster.number_of(other.peer_id) for other in peers if other is not each
            )
    return peers


async def run_all(peers: list[HostilePeer]) -> None:
    """Run all of them until they end."""
    async with trio.open_nursery() as nursery:
        for each in peers:
            nursery.start_soon(each.run)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("homes", type=Path, nargs="+", help="peers' homes, made by `gossipfl peer init`")
    parser.add_argument("--attack", default="sign_flip", help="an attack (docs/robustness.md)")
    parser.add_argument("--set", action="append", default=[], help="a parameter of the attack, KEY=VALUE")
    parser.add_argument("--views", choices=["honest", "poison", "invent"], default="honest")
    parser.add_argument("--sybils", type=int, default=0, help="further identities of each home")
    parser.add_argument("--begins", type=int, default=0, help="round, or event, from which on they lie")
    parser.add_argument("--everywhere", action="store_true", help="in rounds: rows to all members")
    given = parser.parse_args()
    try:
        homes = [each for home in given.homes for each in (home, *sybils_of(home, given.sybils))]
        attack = attack_of(given.attack, given.set)
        how = {"views": given.views, "everywhere": given.everywhere, "begins": given.begins}
        trio.run(run_all, hostile_peers(homes, attack, **how))
    except GossipflError as error:
        raise SystemExit(str(error)) from None
