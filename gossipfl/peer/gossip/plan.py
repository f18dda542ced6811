"""The plan of a gossiping peer: its algorithm, and the contents of its messages."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from typing import Any

import torch

from gossipfl.algorithms import MessageAlgorithm, Sharing, make_algorithm, resumed
from gossipfl.algorithms.declaration import DeclaredParameter, parameters_of
from gossipfl.algorithms.file_form import settings_of
from gossipfl.algorithms.for_peers import find_for_peers, require_in_peers
from gossipfl.algorithms.registry import bundled, digest_of
from gossipfl.codecs import FLOAT32
from gossipfl.errors import SettingError
from gossipfl.settings import GossipSettings, PeerSettings
from gossipfl.settings.learning import USUAL_PARAMETERS
from gossipfl.tasks import Task
from gossipfl.training import Nodes
from gossipfl.wire import CarriedRow, Limits, PartForm

__all__ = ["GossipPlan", "begun_nodes", "gossip_algorithm", "gossip_parameters", "gossip_plan", "in_full"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GossipPlan:
    """Everything that a peer and its neighbours must have in common to gossip.

    Parameters
    ----------
    carried : tuple of CarriedRow
        Rows in every message besides the model.
    layout : bytes, length 32
        Digest of the layout, together with further rows and, unless it is bundled, the algorithm, if there are
        any.
    """

    algorithm: MessageAlgorithm
    carried: tuple[CarriedRow, ...]
    layout: bytes

    @property
    def sharing(self) -> Sharing:
        """How much of a model a message carries."""
        return self.algorithm.behaviour.sharing

    def part_form(self, size: int) -> PartForm | None:
        """Return the form of parts of models of ``size`` shared parameters; None if they are sent whole."""
        sharing = self.sharing
        if sharing.kind == "whole":
            return None
        least, most = sharing.bounds(size)
        return PartForm(
            count=sharing.count,
            ages=sharing.ages,
            least=least,
            most=most,
            size_of=lambda part: sharing.numbers(torch.empty(1, size), part).shape[1],
        )


def gossip_algorithm(settings: PeerSettings) -> MessageAlgorithm:
    """Return the message-driven algorithm that settings name.

    Raises
    ------
    SettingError
        Peers cannot run it, or other settings contradict it.
    """
    name, modules = settings.gossip.algorithm, settings.runtime.modules
    declared = {
        each.name: each.about.in_peers
        for each in parameters_of(find_for_peers(name, kind="messages", directory=modules))
    }
    parameters = _parameters(settings, declared)
    algorithm = make_algorithm(name, parameters, kind="messages", directory=modules, key="gossip")
    _require_runnable(name, algorithm, settings)
    return algorithm


def gossip_parameters(settings: PeerSettings) -> dict[str, tuple[Any, str]]:
    """Return the parameters of the algorithm that ``[gossip]`` may hold, with values and descriptions.

    Raises
    ------
    SettingError
        As in `gossip_algorithm`.
    """
    algorithm = gossip_algorithm(settings)
    values = settings_of(algorithm)
    return {
        each.name: (values[each.name], each.about.description)
        for each in parameters_of(type(algorithm))
        if each.about.in_peers is None and not _is_default_table(each, getattr(algorithm, each.name))
    }


def in_full(settings: PeerSettings) -> PeerSettings:
    """Return the settings with all parameters of the algorithm, to be recorded: defaults may change.

    Raises
    ------
    SettingError
        As in `gossip_algorithm`.
    """
    values = {key: value for key, (value, _) in gossip_parameters(settings).items() if value is not None}
    gossip = GossipSettings(algorithm=settings.gossip.algorithm, **values)
    return settings.model_copy(update={"gossip": gossip})


def gossip_plan(settings: PeerSettings, task: Task, nodes: Nodes) -> GossipPlan:
    """Plan gossip from a peer's initial or saved state.

    Raises
    ------
    SettingError
        As in `gossip_algorithm`.
    """
    algorithm = gossip_algorithm(settings)
    message = algorithm.emit(begun_nodes(nodes, algorithm), shared_size=task.layout.shared_size)
    carried = tuple(
        CarriedRow(name, None if rows.dim() == 1 else rows[0].numel())
        for name, rows in message.carried.items()
    )
    lines = [f"{row.name} {row.size}" for row in carried]
    sharing = algorithm.behaviour.sharing
    if sharing.kind != "whole":
        lines.append(f"{sharing.kind} {sharing.parts}")
    if type(algorithm) not in bundled().values():
        lines.append(digest_of(algorithm, settings.gossip.algorithm))
    return GossipPlan(algorithm=algorithm, carried=carried, layout=_digest(task.layout.digest, lines))


def begun_nodes(nodes: Nodes, algorithm: MessageAlgorithm) -> Nodes:
    """Return the initial or saved state, ``B = 1``, with the algorithm's auxiliary rows."""
    return resumed(nodes, algorithm, optimiser_state_size=nodes.optimiser_state.shape[1])


def _digest(layout: bytes, lines: Sequence[str]) -> bytes:
    """Return the digest of a layout and of further lines that neighbours must have in common."""
    if not lines:
        return layout
    text = "".join(f"{line}\n" for line in lines)
    return hashlib.blake2b(layout + text.encode(), digest_size=32).digest()


def _is_default_table(parameter: DeclaredParameter, value: object) -> bool:
    """Whether a parameter with parameters of its own is as declared: files would show much that few change."""
    return is_dataclass(value) and value == parameter.default


def _parameters(settings: PeerSettings, declared: Mapping[str, str | None]) -> dict[str, Any]:
    """Return the parameters that ``[gossip]`` gives, and those that other settings of a peer determine."""
    given = settings.gossip.parameters
    for key in given:
        if declared.get(key):
            raise SettingError(
                f"gossip.{key} is only for simulations", remedy=f"In a peer's settings, use {declared[key]}."
            )
    kept = {
        key: value
        for key, value in given.items()
        if value is not None and (key in declared or USUAL_PARAMETERS.get(key) != value)
    }
    modes = [key for key, setting in declared.items() if setting == "exchange.mode"]
    return {**kept, **dict.fromkeys(modes, settings.exchange.mode)}


def _require_runnable(name: str, algorithm: MessageAlgorithm, settings: PeerSettings) -> None:
    behaviour, exchange = algorithm.behaviour, settings.exchange
    require_in_peers(name, algorithm)
    if behaviour.trains == "answer" and exchange.mode != behaviour.exchange:
        raise SettingError(
            f"gossip.algorithm = {name!r} trains on answers, so exchanges must be as it declares them",
            expected=f"exchange.mode = {behaviour.exchange!r}",
            got=repr(exchange.mode),
        )
    if behaviour.sharing.kind != "whole" and settings.codec != FLOAT32.name:
        raise SettingError(
            "gossip.sharing sends parts of models as they are",
            expected="exchange.codec = 'float32'",
            got=repr(settings.codec),
            remedy="Leave out the codec, or the sharing.",
        )
    if behaviour.sharing.ages > Limits().parts:
        raise SettingError(
            "gossip.sharing.parts: messages have no room for so many ages",
            expected=f"at most {Limits().parts}",
            got=behaviour.sharing.parts,
        )
    if behaviour.trains != "receipt" and exchange.merges_per_training != 1:
        raise SettingError(
            f"gossip.algorithm = {name!r} does not train on receipt",
            expected="exchange.merges_per_training = 1",
            got=exchange.merges_per_training,
        )
