"""The planted section of a scenario: participants of a known kind, to see whether they are found."""

from __future__ import annotations

from pydantic import Field

from sims.scenario.network import Section

__all__ = ["PlantedSection"]


class PlantedSection(Section):
    """Nodes that free ride, have another's samples, or wrong labels; drawn at random."""

    free_riders: int = Field(
        0, ge=0, description="nodes that train on nothing, and send what they have merged"
    )
    duplicates: int = Field(0, ge=0, description="nodes with the samples of an ordinary node each")
    noisy: int = Field(0, ge=0, description="nodes of whose labels a share is replaced by other classes")
    noise: float = Field(0.5, gt=0, le=1, description="that share")

    @property
    def count(self) -> int:
        """How many nodes are planted."""
        return self.free_riders + self.duplicates + self.noisy
