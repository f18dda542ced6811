"""The course of a run: when models are measured, when it ends, and what it leaves behind."""

from __future__ import annotations

from pydantic import Field

from sims.scenario.network import Section

__all__ = ["EvaluateSection", "OutputSection", "StopSection"]


class EvaluateSection(Section):
    """When models are measured, and on which nodes."""

    every: float = Field(10.0, gt=0, description="rounds between evaluations")
    nodes: int | None = Field(
        None, ge=1, description="measure a random sample of this many nodes; all if unset"
    )
    samples: int | None = Field(
        None, ge=1, description="use only this many of the test samples; all if unset"
    )
    validation: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="measure on this share of the training samples, which no node then has, and leave the test "
        "samples alone: for choosing settings",
    )
    fine_tune: int | None = Field(
        None, ge=1, description="measure what models become after this many steps on their nodes' own samples"
    )
    head: str = Field(
        "",
        description="which parameters fine_tune changes: a name, or a pattern such as head.*; all if empty",
    )
    own: bool = Field(False, description="measure each node on its owner's test samples, not on everybody's")
    per_node: bool = Field(False, description="record the measurements of every node too")
    layers: bool = Field(False, description="record the consensus distance of every tensor of the model too")
    mean_model: bool = Field(
        False, description="measure the mean of all models too, and the gradient of the pooled loss there"
    )


class StopSection(Section):
    """When the run ends."""

    rounds: float = Field(100.0, gt=0, description="length of the run, in periods of the nodes' clocks")
    accuracy: float | None = Field(
        None, gt=0, le=1, description="end once the mean accuracy has reached this"
    )


class OutputSection(Section):
    """Outputs besides the records."""

    rows: bool = Field(True, description="write the final rows")
    checkpoint_every: float | None = Field(None, gt=0, description="rounds between checkpoints")
