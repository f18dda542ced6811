"""Algorithms by name for peers, which refuse some that the simulator runs."""

from __future__ import annotations

from pathlib import Path

from gossipfl.algorithms.declaration import Algorithm
from gossipfl.algorithms.description import described
from gossipfl.algorithms.registry import Kind, algorithm_names, find_algorithm
from gossipfl.errors import InvalidAlgorithm, SettingError, UnknownAlgorithm
from topology.plugins import is_object_name
from topology.spelling import did_you_mean

__all__ = ["find_for_peers", "names_for_peers", "require_in_peers"]

_KEYS = {"rounds": "rounds.algorithm", "messages": "gossip.algorithm"}
_FLAGS = {"rounds": "--rounds-algorithm", "messages": "--gossip-algorithm"}
_IN_WORDS = {"rounds": "runs in rounds", "messages": "is driven by messages"}


def names_for_peers(kind: Kind) -> list[str]:
    """Names of the algorithms of one kind that peers run, sorted; a user's own are not among them."""
    descriptions = [described(name, find_algorithm(name)) for name in algorithm_names(kind)]
    return [each.name for each in descriptions if each.simulator_only is None or each.peers_with]


def find_for_peers(name: str, *, kind: Kind, directory: Path | None) -> type[Algorithm]:
    """Find the algorithm that a peer's settings name.

    Parameters
    ----------
    name, directory
        As for `find_algorithm`.
    kind : {'rounds', 'messages'}
        Whether it is the value of ``rounds.algorithm`` or of ``gossip.algorithm``; errors begin with that key.

    Raises
    ------
    UnknownAlgorithm, InvalidAlgorithm
        As `find_algorithm`.
    """
    try:
        found = find_algorithm(name, directory=directory)
    except InvalidAlgorithm as error:
        raise error.at(_KEYS[kind]) from error
    except UnknownAlgorithm as error:
        if is_object_name(name):
            raise error.at(_KEYS[kind]) from error
        known = names_for_peers(kind)
        raise UnknownAlgorithm(
            f"{_KEYS[kind]}: {error.what}",
            expected=f"one of {', '.join(known)}, or package.module:Class",
            remedy=did_you_mean(name, known),
        ) from error
    if found.kind != kind:
        raise UnknownAlgorithm(
            f"{_KEYS[kind]}: {name} {_IN_WORDS[found.kind]}",
            expected=f"one that {_IN_WORDS[kind]}: {', '.join(names_for_peers(kind))}",
            remedy=f"Name it as {_KEYS[found.kind]} ({_FLAGS[found.kind]}) instead.",
        )
    return found


def require_in_peers(name: str, algorithm: Algorithm) -> None:
    """Refuse an algorithm that only the simulator runs.

    Raises
    ------
    SettingError
    """
    if algorithm.simulator_only is None:
        return
    what = f"{_KEYS[algorithm.kind]}: {name} runs in the simulator only: {algorithm.simulator_only}"
    if algorithm.peers_with:
        raise SettingError(what, remedy=f"Peers run it with {algorithm.peers_with}.")
    raise SettingError(
        what,
        expected=f"one of {', '.join(names_for_peers(algorithm.kind))}",
        remedy=f"`gossipfl sim run` simulates it, with algorithm.name = {name!r}.",
    )
