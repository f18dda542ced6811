"""The task of a scenario, and how its samples are divided among the nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator

from gossipfl.errors import InvalidPartition, UnknownTask
from gossipfl.tasks.clusters import parse_clusters
from gossipfl.tasks.partition import PARTITIONS, parse_partition
from gossipfl.tasks.registry import require_metric_name, require_task_name
from sims.scenario.network import Section
from sims.scenario.tables import mistake_at
from topology.plugins import is_object_name
from topology.spelling import did_you_mean

__all__ = ["OwnSection", "PartitionFile", "TaskSection"]

_OF_DATA = ("contiguous", "natural")
"""Partitions by the order or the owners of samples, which peers do not have."""


class OwnSection(Section):
    """A node with samples of its own."""

    name: str = Field(description="label of the node in reports")
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="keyword arguments of the task's factory for this node, say its file; they replace those of "
        "the table `options`",
    )


class PartitionFile(Section):
    """A file that says which samples each node has."""

    file: Path = Field(
        description=".json: a list of sample numbers for each node; .csv or .npy: the owner of each sample, each "
        "owner a node, in order of their names"
    )
    column: str | None = Field(None, description="which column of a .csv; needed if it has several")


class TaskSection(Section):
    """The task, and how its samples are divided among the nodes."""

    name: str = Field("digits", description="bundled task, or package.module:factory")
    options: dict[str, Any] = Field(
        default_factory=dict, description="keyword arguments of the task's factory"
    )
    metrics: tuple[str, ...] = Field(
        (),
        description="further metrics, each package.module:function or a name that a package offers",
    )
    partition: str | PartitionFile = Field(
        "iid",
        description="iid, shards:K, dirichlet:ALPHA, quantity:SIGMA, contiguous, natural, "
        "package.module:function, or a table with a file",
    )
    samples_per_node: int | None = Field(
        None, gt=0, description="instead of a partition: every node draws this many samples, with replacement"
    )
    clusters: str | None = Field(
        None,
        description="rotation:2, rotation:4 or labels:K: nodes belong in turn to K clusters that see samples "
        "differently, and are measured on what they see; all alike if unset",
    )
    nodes: list[OwnSection] = Field(
        default_factory=list,
        description="instead of a partition: one table for every node, each with samples of its own, to train and "
        "to be measured on",
    )

    @model_validator(mode="after")
    def _divides_once(self) -> TaskSection:
        divided = (self.partition != "iid", self.samples_per_node is not None, self.clusters is not None)
        if self.nodes and any(divided):
            raise ValueError(
                "nodes with samples of their own need no partition, no samples_per_node and no clusters"
            )
        names = [node.name for node in self.nodes]
        if len(set(names)) < len(names):
            raise ValueError(f"nodes need different names, got {', '.join(names)}")
        return self

    def names_of(self, nodes: int) -> list[str]:
        """Labels of so many nodes."""
        return [node.name for node in self.nodes] or [f"node {number}" for number in range(nodes)]

    @field_validator("name")
    @classmethod
    def _is_known(cls, name: str) -> str:
        try:
            require_task_name(name)
        except UnknownTask as error:
            raise mistake_at((), str(error), name) from None
        return name

    @field_validator("partition")
    @classmethod
    def _can_be_found(cls, partition: str | PartitionFile) -> str | PartitionFile:
        if isinstance(partition, PartitionFile) or partition in _OF_DATA or is_object_name(partition):
            return partition
        try:
            parse_partition(partition)
        except InvalidPartition as error:
            kind = partition.partition(":")[0]
            told = str(error)
            if kind not in PARTITIONS:
                known = "iid, shards:K, dirichlet:ALPHA, quantity:SIGMA, contiguous, natural"
                hint = did_you_mean(kind, [*PARTITIONS, *_OF_DATA])
                told = f"there is no partition {partition!r}; expected {known}, module:function or a table"
                told += f". {hint}" if hint else ""
            raise mistake_at((), told, partition) from None
        return partition

    @field_validator("clusters")
    @classmethod
    def _can_be_read(cls, clusters: str | None) -> str | None:
        try:
            _ = clusters is None or parse_clusters(clusters)
        except InvalidPartition as error:
            raise mistake_at((), str(error), clusters) from None
        return clusters

    @field_validator("metrics")
    @classmethod
    def _are_known(cls, metrics: tuple[str, ...]) -> tuple[str, ...]:
        try:
            for name in metrics:
                require_metric_name(name)
        except UnknownTask as error:
            raise mistake_at((), str(error), metrics) from None
        return metrics
