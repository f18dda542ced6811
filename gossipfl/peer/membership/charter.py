"""Settings that all peers of a network have alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gossipfl.algorithms.declaration import settings_of
from gossipfl.errors import SettingError
from gossipfl.membership import Authority, canonical
from gossipfl.rounds.plan import round_algorithm
from gossipfl.settings import PeerSettings
from gossipfl.tasks import Task

__all__ = ["beyond_frames", "charter_of", "require_charter"]

# Every frame says these, and is refused by name where they differ.
_IN_FRAMES: Final = ("task", "layout", "rounds.")
# How many samples a step has, and which, is each peer's own matter.
_OWN: Final = frozenset({"batch_size", "seed"})


def charter_of(settings: PeerSettings, task: Task, *, layout: bytes) -> dict[str, str]:
    """What a peer's neighbours must have as it has it: values by name, in canonical JSON.

    A member that takes more steps a merge, or goes by another schedule, makes all ages, and so all step sizes, its
    own.

    Parameters
    ----------
    settings : PeerSettings
        In full.
    task : Task
    layout : bytes, length 32
        Digest of what messages hold.

    Raises
    ------
    SettingError
        Parameters of the algorithm are too long for a charter.
    """
    training = settings.training.model_dump(mode="json")
    values: dict[str, Any] = {
        "task": task.fingerprint.hex(),
        "layout": layout.hex(),
        "gate.pace": settings.gate.pace,
        **{f"training.{key}": value for key, value in training.items() if key not in _OWN},
        **_algorithm(settings),
    }
    return canonical(values)


def beyond_frames(charter: Mapping[str, str]) -> dict[str, str]:
    """Fields of a charter that no frame tells."""
    return {name: value for name, value in charter.items() if not name.startswith(_IN_FRAMES)}


def require_charter(authority: Authority, own: Mapping[str, str]) -> None:
    """Require that a peer's settings are those of its network's charter, if it has one.

    Raises
    ------
    SettingError
        They are not; it names the fields.
    """
    if authority.charter is None:
        return
    agreed = dict(authority.charter.fields)
    wrong = [name for name in sorted({*agreed, *own}) if agreed.get(name) != own.get(name)]
    if wrong:
        fields = "; ".join(
            f"{name} is {agreed.get(name, 'not set')} there and {own.get(name, 'not set')} here"
            for name in wrong
        )
        raise SettingError(
            f"{wrong[0]}: the network {authority.network.name!r} has a charter that all members keep to: {fields}",
            remedy="Correct peer.toml. `gossipfl network show` prints the charter.",
        )


def _algorithm(settings: PeerSettings) -> Mapping[str, Any]:
    rounds = settings.rounds
    if rounds.algorithm is not None:
        return {
            "rounds.algorithm": rounds.algorithm,
            "rounds.parameters": settings_of(round_algorithm(settings)),
            "rounds.topology": rounds.topology,
            "rounds.seed": rounds.seed,
        }
    gossip = settings.gossip
    return {
        "gossip.algorithm": gossip.algorithm,
        **{f"gossip.{key}": value for key, value in gossip.parameters.items()},
    }
