"""Algorithms: pure functions on rows, each declared once.

The names below are imported when they are first used; so is every bundled algorithm, by the name of its class:
``gossipfl.algorithms.ChocoSGD``. A user's own derives from `RoundAlgorithm` and declares its parameters::

    @dataclass(frozen=True, kw_only=True)
    class Lazy(RoundAlgorithm):
        rule = "X ← (1 − p) X + p W(X − ηG)"
        p: Annotated[float, Parameter("how far a node moves", gt=0, le=1)] = 0.5

        def round(self, nodes, context):
            trained = context.local.update(nodes)
            mixed = yield Exchange(trained.rows[:, : context.shared_size])
            moved = torch.lerp(nodes.rows[:, : context.shared_size], mixed.rows, self.p)
            return trained.with_shared(moved, ages=trained.ages)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from topology.lazy import lazy_attributes

if TYPE_CHECKING:
    from gossipfl.algorithms.base import (
        AnyExchange,
        Exchange,
        LinkExchange,
        Links,
        LocalTraining,
        Mixed,
        Neighbourhood,
        NeighbourRows,
        Preview,
        Requirements,
        Round,
        RoundAlgorithm,
        RoundContext,
    )
    from gossipfl.algorithms.conformance import Finding, check_algorithm
    from gossipfl.algorithms.declaration import Algorithm, Parameter
    from gossipfl.algorithms.drive import RoundInProgress, run_round
    from gossipfl.algorithms.gossip.flow import Flow
    from gossipfl.algorithms.gossip.sharing import Sharing
    from gossipfl.algorithms.messages import Behaviour, Message, MessageAlgorithm
    from gossipfl.algorithms.recovery import adopt, go_back, resumed
    from gossipfl.algorithms.registry import algorithm_names, find_algorithm, make_algorithm

_NAMES = {
    "base": [
        "AnyExchange",
        "Exchange",
        "LinkExchange",
        "Links",
        "LocalTraining",
        "Mixed",
        "Neighbourhood",
        "NeighbourRows",
        "Preview",
        "Requirements",
        "Round",
        "RoundAlgorithm",
        "RoundContext",
    ],
    "conformance": ["Finding", "check_algorithm"],
    "declaration": ["Algorithm", "Parameter"],
    "drive": ["RoundInProgress", "run_round"],
    "gossip.flow": ["Flow"],
    "gossip.sharing": ["Sharing"],
    "messages": ["Behaviour", "Message", "MessageAlgorithm"],
    "recovery": ["adopt", "go_back", "resumed"],
    "registry": ["algorithm_names", "find_algorithm", "make_algorithm"],
}

__all__ = [
    "Algorithm",
    "AnyExchange",
    "Behaviour",
    "Exchange",
    "Finding",
    "Flow",
    "LinkExchange",
    "Links",
    "LocalTraining",
    "Message",
    "MessageAlgorithm",
    "Mixed",
    "NeighbourRows",
    "Neighbourhood",
    "Parameter",
    "Preview",
    "Requirements",
    "Round",
    "RoundAlgorithm",
    "RoundContext",
    "RoundInProgress",
    "Sharing",
    "adopt",
    "algorithm_names",
    "check_algorithm",
    "find_algorithm",
    "go_back",
    "make_algorithm",
    "resumed",
    "run_round",
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


def _classes() -> dict[str, type[Algorithm]]:
    from gossipfl.algorithms.registry import bundled

    return {algorithm.__name__: algorithm for algorithm in bundled().values()}
