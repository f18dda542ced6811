"""TOML files by path, or by name among the ready-made ones."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from gossipfl.settings.places import syntax_error
from sims.errors import SimulationError
from topology.parsing import toml_of
from topology.spelling import did_you_mean
from topology.text import read_text

__all__ = ["SCENARIOS", "parsed", "read_toml"]

SCENARIOS = Path(__file__).parent.parent / "scenarios"
"""Directory of the ready-made scenarios."""


def read_toml(
    file: Path | str, *, kind: str, directory: Path, error: type[SimulationError]
) -> tuple[Path, str]:
    """Read a file.

    Parameters
    ----------
    file : path
        A TOML file, or the name of one in ``directory``.
    kind : str
        Its contents, for messages: ``"scenario"`` or ``"sweep"``.
    directory : Path
        Of the ready-made ones.
    error : type of SimulationError
        The error to raise.

    Returns
    -------
    path : Path
    text : str

    Raises
    ------
    error
        If there is no such file, or it cannot be read.
    """
    path = Path(file)
    if not path.is_file():
        ready = {found.stem: found for found in sorted(directory.glob("*.toml"))}
        if path.suffix == ".toml" or len(path.parts) > 1:
            raise error(f"there is no file {str(file)!r}", expected=f"a {kind} as a TOML file")
        if str(file) not in ready:
            raise error(
                f"there is no {kind} {str(file)!r}",
                expected=f"a TOML file, or one of {', '.join(ready)}",
                remedy=did_you_mean(path.stem, ready),
            )
        path = ready[str(file)]
    try:
        return path, read_text(path)
    except (OSError, UnicodeDecodeError) as failure:
        raise error(f"{path} cannot be read: {failure}") from failure


def parsed(text: str, *, source: str, error: type[SimulationError]) -> dict[str, Any]:
    """Parse the text of a file; an error of this type names the line that is no TOML."""
    try:
        return toml_of(text)
    except tomllib.TOMLDecodeError as failure:
        raise error(syntax_error(failure, source)) from failure
