"""Attacks of hostile nodes: pure functions on rows, each declared once.

The names below are imported when they are first used; so is every bundled attack, by the name of its class:
``gossipfl.attacks.ALIE``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from topology.lazy import lazy_attributes

if TYPE_CHECKING:
    from gossipfl.attacks.base import Aimed, Attack, Poisoned, Receivers, SameToAll, Senders
    from gossipfl.attacks.everyone import Everyone, KnownLinks
    from gossipfl.attacks.lying import Liars
    from gossipfl.attacks.registry import attack_names, find_attack

_NAMES = {
    "base": ["Aimed", "Attack", "Poisoned", "Receivers", "SameToAll", "Senders"],
    "everyone": ["Everyone", "KnownLinks"],
    "lying": ["Liars"],
    "registry": ["attack_names", "find_attack"],
}

__all__ = [
    "Aimed",
    "Attack",
    "Everyone",
    "KnownLinks",
    "Liars",
    "Poisoned",
    "Receivers",
    "SameToAll",
    "Senders",
    "attack_names",
    "find_attack",
]

_of_module, _ = lazy_attributes(
    __name__, {name: f"{__name__}.{module}" for module, names in _NAMES.items() for name in names}
)


def __getattr__(name: str) -> Any:  # noqa: ANN401 - as many types as names
    if name in __all__:
        return _of_module(name)
    if not name.startswith("_"):
        found = _classes().get(name)
        if found is not None:
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *_classes()})


def _classes() -> dict[str, type[Attack]]:
    from gossipfl.attacks.registry import bundled

    return {attack.__name__: attack for attack in bundled().values()}
