"""Versions of the protocol that are spoken."""

from __future__ import annotations

from dataclasses import dataclass

from gossipfl.errors import SettingError

__all__ = ["SPOKEN", "VersionRange"]


@dataclass(frozen=True, slots=True)
class VersionRange:
    """All versions from `lowest` to `highest`, both included; at least 1, at most 65535.

    Raises
    ------
    SettingError
        The range is empty, or its ends are no versions.
    """

    lowest: int
    highest: int

    def __post_init__(self) -> None:
        if not 1 <= self.lowest <= self.highest <= 65535:
            raise SettingError(
                "the range of protocol versions is wrong",
                expected="1 <= lowest <= highest <= 65535",
                got=f"{self.lowest} to {self.highest}",
            )

    def __contains__(self, version: object) -> bool:
        return isinstance(version, int) and self.lowest <= version <= self.highest

    def __str__(self) -> str:
        ends = (self.lowest, self.highest)
        return f"version {ends[0]}" if ends[0] == ends[1] else f"versions {ends[0]} to {ends[1]}"


#: The versions this code speaks. Earlier ones are refused by name: their models call the event a step.
SPOKEN = VersionRange(3, 3)
