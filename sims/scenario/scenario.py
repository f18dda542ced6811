"""Scenarios as validated values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, ValidationInfo, field_validator, model_validator

from gossipfl.settings.gate import GateSettings
from gossipfl.settings.outgoing import OutgoingSettings, require_order
from gossipfl.training import TrainingSettings
from sims.scenario.algorithm import AlgorithmSection
from sims.scenario.attack import AttackSection
from sims.scenario.course import EvaluateSection, OutputSection, StopSection
from sims.scenario.engine import EngineSection
from sims.scenario.network import ChurnSection, NetworkSection, Section
from sims.scenario.planted import PlantedSection
from sims.scenario.tables import mistake_at, topology_table
from sims.scenario.task import TaskSection
from topology.catalogue import Expression, from_table
from topology.errors import TopologyError
from topology.plugins import also_search

__all__ = ["MaskedSumsSection", "PopulationSection", "Scenario", "TopologySection", "TrainingSection"]


class PopulationSection(Section):
    """How many nodes there are."""

    nodes: int = Field(ge=2, description="number of nodes, those that join later included")


class TopologySection(Section):
    """The topology: a family of `topology.catalogue` with its parameters, or an expression."""

    model_config = ConfigDict(extra="allow")

    name: str = Field(
        "complete",
        description="a family that `gossipfl topology list` shows, or package.module:function of your own",
    )

    @model_validator(mode="before")
    @classmethod
    def _as_table(cls, value: Any) -> Any:
        if not isinstance(value, (str, dict, TopologySection)):
            raise ValueError('expected a table, or an expression such as "random-regular:degree=4"')  # noqa: TRY004
        return topology_table(value)

    @property
    def arguments(self) -> dict[str, Any]:
        """The family's parameters, as written in the file."""
        return dict(self.model_extra or {})


class TrainingSection(TrainingSettings):
    """Local training, as in peers, and its duration."""

    enabled: bool = Field(True, description="false: models are only averaged, never trained")
    step_seconds: float = Field(
        0.0,
        ge=0,
        description="time a node is busy with a received model before its own model is the new one; in rounds, "
        "with the local steps of a round",
    )
    by_speed: bool = Field(
        False,
        description="in rounds: a node does as many local steps as it has time for while one of median speed does "
        "local_steps, at least one; speeds are those of network.period_sigma",
    )


class MaskedSumsSection(Section):
    """Masked sums: nodes learn the weighted sum of their neighbours' rows, and no single one."""

    range: float = Field(
        64.0,
        ge=2.0**-20,
        le=2.0**20,
        description="largest magnitude of a number, rounded up to a power of two",
    )
    drop_out: float = Field(
        0.0, ge=0, lt=1, description="probability that a neighbour's row does not arrive in an exchange"
    )


class Scenario(Section):
    """One simulated network, complete: the same scenario gives the same run.

    Examples
    --------
    >>> scenario = Scenario.model_validate(
    ...     {"population": {"nodes": 8}, "algorithm": {"name": "d_psgd"}, "topology": "ring"})
    >>> scenario.stop.rounds
    100.0
    """

    name: str = Field(
        "scenario", description="name in records; reports of several runs name them by what differs"
    )
    modules: Path | None = Field(
        None,
        description="directory searched first for modules of your own; the file's, if they stand beside it",
    )
    seed: int = Field(0, ge=0, description="seed of everything that is drawn")
    precision: Literal["float32", "float64"] = Field("float32", description="of models and arithmetic")
    population: PopulationSection
    algorithm: AlgorithmSection
    task: TaskSection = TaskSection()
    topology: TopologySection = TopologySection()
    training: TrainingSection = TrainingSection()
    outgoing: list[OutgoingSettings] = Field(
        default_factory=list, description="transformations of rows before they leave a node, in order"
    )
    gate: GateSettings | None = Field(
        None, description="gate of every node, as of peers; without this table models are merged as they come"
    )
    masked_sums: MaskedSumsSection | None = Field(
        None,
        description="sums without summands in rounds; without the table nodes see their neighbours' rows",
    )
    network: NetworkSection = NetworkSection()
    churn: ChurnSection = ChurnSection()
    attack: AttackSection | None = Field(None, description="hostile nodes; without the table all are honest")
    planted: PlantedSection | None = Field(
        None, description="participants of a known kind; without the table there are none"
    )
    engine: EngineSection = EngineSection()
    evaluate: EvaluateSection = EvaluateSection()
    stop: StopSection = StopSection()
    output: OutputSection = OutputSection()

    @field_validator("algorithm", "attack", mode="before")
    @classmethod
    def _with_modules(cls, table: Any, info: ValidationInfo) -> Any:
        """Pass on to algorithms and attacks where the user's own modules are."""
        modules = info.data.get("modules")
        if modules is not None:
            also_search(modules)  # for codecs, which are found by their names alone
        return {"modules": modules, **table} if modules and isinstance(table, dict) else table

    @model_validator(mode="after")
    def _outgoing_in_order(self) -> Scenario:
        require_order(self.outgoing, codec=self.algorithm.codec)
        return self

    @model_validator(mode="after")
    def _topology_can_be_read(self) -> Scenario:
        section = self.topology
        try:
            self.read_topology()
        except TopologyError as error:
            key = getattr(error, "key", None)
            location = ("topology", "name") if key is None else ("topology", key)
            hint = (
                "" if "name" in section.model_fields_set else f". No name is given, so it is {section.name!r}"
            )
            value = section.arguments.get(key or "", section.name)
            raise mistake_at(location, f"{error}{hint}", value) from None
        return self

    def read_topology(self, *, labels: Callable[[], Any] | None = None) -> Expression:
        """Read the topology, with its number of nodes and its seed from the scenario where it has none.

        Parameters
        ----------
        labels : callable, optional
            Gives the classes of the nodes' data, for topologies that are built from them.
        """
        section = self.topology
        implied: dict[str, Any] = {"n": self.population.nodes, "seed": self.seed}
        if labels is not None and "classes" not in section.arguments:
            implied["labels"] = labels
        return from_table(section.name, section.arguments, implied=implied, directory=self.modules)

    @model_validator(mode="after")
    def _nodes_fit(self) -> Scenario:
        own = len(self.task.nodes)
        if own and own != self.population.nodes:
            raise mistake_at(
                ("task", "nodes"), f"expected one table for each of {self.population.nodes} nodes", own
            )
        if own and self.evaluate.validation is not None:
            raise ValueError("evaluate.validation is for nodes without test samples of their own")
        return self

    @model_validator(mode="after")
    def _kept_rows_fit(self) -> Scenario:
        others = {"gate": self.gate, "attack": self.attack, "evaluate.layers": self.evaluate.layers or None}
        there = [name for name, value in others.items() if value is not None]
        if there and not self.engine.reads_whole_tables:
            raise ValueError(
                f"{self.engine.named} goes with neither gates, attacks nor evaluate.layers, which read rows in "
                f"full: leave out {', '.join(there)}, or {self.engine.named.partition(' ')[0]}"
            )
        return self

    @model_validator(mode="after")
    def _speeds_fit(self) -> Scenario:
        if self.training.by_speed and (not self.network.period_sigma or not self.algorithm.in_rounds):
            raise ValueError(
                "training.by_speed needs network.period_sigma and an algorithm that runs in rounds"
            )
        if self.training.by_speed and self.attack is not None:
            raise ValueError("training.by_speed does not go with [attack]")
        return self

    @model_validator(mode="after")
    def _joins_fit(self) -> Scenario:
        joining = sum(event.nodes or 0 for event in self.churn.events)
        if joining >= self.population.nodes:
            raise ValueError(
                f"{joining} nodes join later, of {self.population.nodes} in all: nobody would be there at first"
            )
        return self
