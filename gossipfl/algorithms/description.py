"""Descriptions of algorithms, from their declarations, for the command line and the documentation."""

from __future__ import annotations

from dataclasses import MISSING, asdict, dataclass
from typing import Any

from gossipfl.algorithms.base import Requirements, RoundAlgorithm
from gossipfl.algorithms.declaration import Algorithm, DeclaredParameter, parameters_of
from gossipfl.algorithms.file_form import settings_model, settings_of, with_settings
from gossipfl.algorithms.registry import name_of

__all__ = ["Description", "described", "example_settings", "mixing_in_words"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterDescription:
    """A parameter in words; ``default`` is None both for no value and for a required one."""

    name: str
    kind: str
    required: bool
    default: Any
    range: str
    description: str
    in_peers: str | None

    @property
    def text(self) -> str:
        """One line."""
        default = "" if self.required else f" = {_written(self.default)}"
        bounds = f", {self.range}" if self.range else ""
        elsewhere = f" (in peers: {self.in_peers})" if self.in_peers else ""
        return f"{self.name}: {self.kind}{bounds}{default}  {self.description}{elsewhere}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """An algorithm in words."""

    name: str
    kind: str
    summary: str
    rule: str
    paper: str
    mixing: str
    sends: str
    simulator_only: str | None
    peers_with: str
    parameters: tuple[ParameterDescription, ...]

    @property
    def places(self) -> str:
        """Where it runs, in a few words."""
        if self.simulator_only is None:
            return "simulator, peers"
        return f"simulator, peers with {self.peers_with}" if self.peers_with else "simulator"

    def facts(self) -> dict[str, str]:
        """Everything but the parameters, by title."""
        where = "the simulator and peers"
        if self.simulator_only is not None:
            where = f"the simulator only: {self.simulator_only}"
        facts = {
            "name": self.name,
            "summary": self.summary,
            "rule": self.rule,
            "paper": self.paper,
            "mixing": self.mixing,
            "sends": f"{self.sends} (P: number of shared parameters)",
            "runs in": where,
        }
        return {title: value for title, value in facts.items() if value}

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def described(name: str, declared: type[Algorithm]) -> Description:
    """Describe an algorithm that was found by a name, with its defaults."""
    example = with_settings(declared, settings_model(declared).model_validate(example_settings(declared)))
    rounds = isinstance(example, RoundAlgorithm)
    return Description(
        name=name_of(name, declared),
        kind="in rounds" if rounds else "by messages",
        summary=(declared.__doc__ or "").partition("\n")[0],
        rule=declared.rule,
        paper=declared.paper,
        mixing=mixing_in_words(example) if isinstance(example, RoundAlgorithm) else "any graph",
        sends=declared.sends,
        simulator_only=example.simulator_only,
        peers_with=declared.peers_with,
        parameters=tuple(_parameter(each) for each in parameters_of(declared)),
    )


def example_settings(declared: type[Algorithm]) -> dict[str, Any]:
    """Values for required parameters: the smallest allowed."""
    return {each.name: _least(each) for each in parameters_of(declared) if each.default is MISSING}


def mixing_in_words(algorithm: RoundAlgorithm) -> str:
    """The mixing an algorithm requires, in a few words."""
    requirements = algorithm.requirements
    if requirements.server:
        return "a server in place of a topology"
    if algorithm.brings_topology:
        return "its own, no topology"
    if requirements.tree:
        return "a tree that stays"
    return ", ".join([_matrices(requirements), *(["nodes in cliques"] if requirements.cliques else [])])


def _matrices(requirements: Requirements) -> str:
    if requirements.stochastic != "doubly":
        senders = ": senders weigh" if requirements.stochastic == "columns" else ""
        return f"{requirements.stochastic} that sum to 1, directed links too{senders}"
    symmetric = "symmetric doubly stochastic" if requirements.symmetric else "doubly stochastic"
    return f"one {symmetric} matrix" if requirements.static else symmetric


def _parameter(parameter: DeclaredParameter) -> ParameterDescription:
    required = parameter.default is MISSING
    default = None if required else parameter.default
    return ParameterDescription(
        name=parameter.name,
        kind=parameter.kind_name,
        required=required,
        default=settings_of(default) if hasattr(default, "__dataclass_fields__") else default,
        range=parameter.about.range,
        description=parameter.about.description,
        in_peers=parameter.about.in_peers,
    )


def _least(parameter: DeclaredParameter) -> Any:  # noqa: ANN401
    about = parameter.about
    if about.ge is not None:
        return parameter.kind(about.ge) if parameter.kind in (int, float) else about.ge
    if about.gt is not None:
        return (
            about.gt + 1 if parameter.kind is int else about.gt + (about.le or about.lt or about.gt + 2) / 2
        )
    return {int: 1, float: 0.5, bool: False, str: ""}.get(parameter.kind)


def _written(value: object) -> str:
    return "unset" if value is None else f'"{value}"' if isinstance(value, str) else str(value)
