"""Settings of how models are kept between their updates."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from sims.scenario.network import Section

__all__ = ["EngineSection"]


class EngineSection(Section):
    """How models of message-driven algorithms are kept between their updates."""

    rows: Literal["full", "int16", "int8"] = Field(
        "full",
        description="full: in the precision of the scenario; int16 and int8: 16 or 8 bits a number and a scale "
        "for every 64 numbers, rounded after every update, in a half or a quarter of the memory of float32",
    )
    rounding: Literal["random", "nearest"] = Field(
        "random",
        description="of int16 and int8: random has no bias, so small updates are kept on average; nearest loses "
        "those below half a step",
    )
    paged_to: Path | None = Field(
        None,
        description="absolute path of a directory for a file of rows, which has no name and is gone with the run: "
        "models of sleeping nodes then need no memory, and those of nodes that never wake need no disk",
    )

    @field_validator("paged_to")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        """A relative one would be another directory where a run is resumed, or done by another machine."""
        if path is not None and not path.is_absolute():
            raise ValueError(f"expected an absolute path, such as {path.absolute()}")
        return path

    @property
    def is_compact(self) -> bool:
        """Whether rows are kept in few bits."""
        return self.rows != "full"

    @property
    def reads_whole_tables(self) -> bool:
        """Whether rows are in memory and in full, so that whatever needs all of them has them."""
        return not self.is_compact and self.paged_to is None

    @property
    def named(self) -> str:
        """What keeps them elsewhere or otherwise, as it is written in a scenario."""
        return f"engine.rows = {self.rows!r}" if self.is_compact else "engine.paged_to"
