"""Settings that all peers of a network must share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gossipfl.algorithms.file_form import settings_of
from gossipfl.errors import SettingError
from gossipfl.membership import Authority, canonical
from gossipfl.rounds.plan import round_algorithm
from gossipfl.settings import PeerSettings
from gossipfl.tasks import Task

__all__ = ["beyond_frames", "charter_of", "differing_from", "require_charter"]

# Covered by every frame, which is refused by name if they differ.
_IN_FRAMES: Final = ("task", "layout", "rounds.")
# They differ with many other settings, which say more.
_DIGESTS: Final = frozenset({"task", "layout"})
# Each peer's own choice.
_OWN: Final = frozenset({"batch_size", "seed", "flow"})


def charter_of(settings: PeerSettings, task: Task, *, layout: bytes) -> dict[str, str]:
    """Return a peer's values of the settings that its neighbours must share, by name in canonical JSON.

    Training settings are among them because a member with more steps a merge, or another schedule, would impose
    its ages, and thus its step sizes, on all others.

    Parameters
    ----------
    settings : PeerSettings
        With all parameters of the algorithm.
    layout : bytes, length 32
        Digest of the layout of messages.

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
        **({} if task.statistics is None else {"statistics": task.statistics}),
        **_algorithm(settings),
    }
    return canonical(values)


def beyond_frames(charter: Mapping[str, str]) -> dict[str, str]:
    """Return the fields of a charter that frames do not cover."""
    return {name: value for name, value in charter.items() if not name.startswith(_IN_FRAMES)}


def require_charter(authority: Authority, own: Mapping[str, str]) -> None:
    """Require that a peer's settings equal its network's charter, if there is one.

    Raises
    ------
    SettingError
        They differ; the message names the fields.
    """
    wrong = differing_from(authority, own)
    if authority.charter is not None and wrong:
        fields = "; ".join(
            f"{name} is {there} there and {here} here" for name, (there, here) in wrong.items()
        )
        number = authority.charter.number
        raise SettingError(
            f"{next(iter(wrong))}: differs from charter {number} of network {authority.network.name!r}, the "
            f"newest that this peer knows: {fields}",
            remedy="Correct peer.toml (`gossipfl network show` prints the charter). If others follow a newer one, "
            f"start the peer with the settings of charter {number}: the first member that it reaches tells it the "
            "new one.",
        )


def differing_from(authority: Authority, own: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return the settings that differ from a network's charter, by name: the charter's value, and the peer's."""
    if authority.charter is None:
        return {}
    agreed = dict(authority.charter.fields)
    return {
        name: (agreed.get(name, "not set"), own.get(name, "not set"))
        for name in sorted({*agreed, *own}, key=lambda name: (name in _DIGESTS, name))
        if agreed.get(name) != own.get(name)
    }


def _algorithm(settings: PeerSettings) -> Mapping[str, Any]:
    rounds = settings.rounds
    if rounds.algorithm is not None:
        return {
            "rounds.algorithm": rounds.algorithm,
            "rounds.parameters": settings_of(round_algorithm(settings)),
            "rounds.topology": rounds.topology,
            "rounds.seed": rounds.seed,
            **(
                {"rounds.masked_sums": True, "rounds.sums_range": rounds.sums_range}
                if rounds.masked_sums
                else {}
            ),
        }
    gossip = settings.gossip
    return {
        "gossip.algorithm": gossip.algorithm,
        **{f"gossip.{key}": value for key, value in gossip.parameters.items() if key not in _OWN},
    }
