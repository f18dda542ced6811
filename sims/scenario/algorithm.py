"""The algorithm section of a scenario, derived from the algorithms' declarations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gossipfl.algorithms import Algorithm, RoundAlgorithm
from gossipfl.algorithms.declaration import parameters_of
from gossipfl.algorithms.file_form import Settings, UsableCodec, settings_model, with_settings
from gossipfl.algorithms.registry import algorithm_names, bundled, find_algorithm, name_of
from gossipfl.errors import GossipflError
from gossipfl.layout import Layout
from sims.scenario.declared import class_named_in, made
from sims.scenario.network import Section
from sims.scenario.tables import mistake_at

__all__ = ["AlgorithmSection"]

_BESIDE = {"name", "modules"}


class _RoundSettings(Settings):
    """Keys that all round-based algorithms have, besides their own parameters."""

    weights: Literal["metropolis_hastings", "max_degree", "uniform"] | None = Field(
        None,
        description="mixing weights, where the topology is a graph; Metropolis–Hastings unless given, uniform on "
        "directed graphs",
    )
    codec: UsableCodec | None = Field(
        None, description="how rows are sent, e.g. bfloat16, int8, qsgd:256 or top:0.01; as float32 if unset"
    )


class AlgorithmSection(Section):
    """An algorithm and its parameters, which are the other keys of the table."""

    model_config = ConfigDict(extra="allow")

    name: str = Field(description="an algorithm (see `gossipfl algorithms list`), or package.module:Class")
    modules: Path | None = Field(None, exclude=True, description="directory of modules: the scenario's")

    @model_validator(mode="before")
    @classmethod
    def _as_declared(cls, values: Any) -> Any:
        """Check the parameters, and fill in those not given."""
        if not isinstance(values, dict):
            return values
        declared = class_named_in(values, find=find_algorithm, names=algorithm_names)
        name, modules = values["name"], values.get("modules")
        model = _model_of(declared)
        settings = model.model_validate({key: value for key, value in values.items() if key not in _BESIDE})
        algorithm = made(declared, settings)
        weights = getattr(settings, "weights", None)
        if (
            isinstance(algorithm, RoundAlgorithm)
            and algorithm.requirements.own_weights
            and weights is not None
        ):
            raise mistake_at(
                ("weights",), f"{name} weighs by itself, so {weights!r} would be without effect", weights
            )
        return {"name": name_of(name, declared), "modules": modules, **settings.model_dump()}

    @classmethod
    def variants(cls) -> list[type[BaseModel]]:
        """Models of the parameters of all bundled algorithms."""
        return [_model_of(each) for each in bundled().values()]

    @classmethod
    def variant_of(cls, table: Mapping[str, Any]) -> type[BaseModel] | None:
        """Model of the parameters of the algorithm that a table names."""
        try:
            return _model_of(find_algorithm(table["name"], directory=table.get("modules")))
        except GossipflError:
            return None

    @property
    def declared(self) -> type[Algorithm]:
        """The class that declares the algorithm."""
        return find_algorithm(self.name, directory=self.modules)

    @property
    def in_rounds(self) -> bool:
        """Whether the algorithm runs in rounds."""
        return self.declared.kind == "rounds"

    def build(self, layout: Layout | None = None) -> Algorithm:
        """Make the algorithm; with a layout, for its models."""
        declared, given = self.declared, self.model_extra or {}
        algorithm = with_settings(declared, _model_of(declared).model_validate(given))
        return algorithm if layout is None else algorithm.fitted(layout)

    def of_rounds(self, layout: Layout | None = None) -> RoundAlgorithm:
        """Make an algorithm that runs in rounds."""
        algorithm = self.build(layout)
        assert isinstance(algorithm, RoundAlgorithm)  # noqa: S101  (the caller asked `in_rounds`)
        return algorithm

    @property
    def codec(self) -> str | None:
        """Name of the codec that rows are sent with; None if they are sent in full."""
        return (self.model_extra or {}).get("codec")

    @property
    def codec_of_all(self) -> str | None:
        """Name of the codec of all exchanges; None if an algorithm's own parameter says which are compressed."""
        own = any(each.name == "codec" for each in parameters_of(self.declared))
        return None if own else self.codec

    @property
    def weights(self) -> str | None:
        """Rule for mixing weights; None for the topology's own."""
        return (self.model_extra or {}).get("weights")


def _model_of(declared: type[Algorithm]) -> type[Settings]:
    return settings_model(declared, base=_RoundSettings if declared.kind == "rounds" else Settings)
