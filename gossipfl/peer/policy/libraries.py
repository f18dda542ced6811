"""Libraries that conditions of a policy need, imported when they are."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Final

from gossipfl.extras import is_installed, missing_library
from gossipfl.peer.policy.decision import conditions_of
from gossipfl.peer.policy.script import require_script
from gossipfl.settings import PolicySettings

__all__ = ["library", "require_readable"]

_NEEDED: Final = (
    ("other_cpu", ("psutil",)),
    ("temperature", ("psutil",)),
    ("unmetered", ("jeepney",)),
    ("battery", ("jeepney", "psutil")),
    ("charging", ("jeepney", "psutil")),
)


def library(name: str) -> Any:  # noqa: ANN401 - a module
    """Import a library; None if it is not installed."""
    return importlib.import_module(name) if is_installed(name) else None


def require_readable(settings: PolicySettings, directory: Path) -> None:
    """Require the libraries and the script that the conditions need.

    Parameters
    ----------
    directory : Path
        The peer's home.

    Raises
    ------
    SettingError
        A library is not installed, or the script cannot be run.
    """
    wanted = conditions_of(settings)
    for condition, libraries in _NEEDED:
        if condition in wanted and all(library(each) is None for each in libraries):
            raise missing_library(f"policy.{condition}", " or ".join(libraries), extra="policy")
    if settings.script is not None:
        require_script(directory / settings.script)
