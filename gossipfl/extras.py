"""Libraries of optional extras: whether they are installed, and the error that says how to install them."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable

from gossipfl.errors import SettingError

__all__ = ["is_installed", "missing_library", "require_extra"]


def is_installed(module: str) -> bool:
    """Whether a module can be imported; it is not imported."""
    return importlib.util.find_spec(module) is not None


def missing_library(what: str, libraries: str, *, extra: str) -> SettingError:
    """Return the error that something needs libraries which the named extra installs."""
    return SettingError(f"{what} needs {libraries}", remedy=f"Install it: pip install 'gossipfl[{extra}]'.")


def require_extra(extra: str, modules: Iterable[str], *, what: str) -> None:
    """Require the libraries of an extra.

    Parameters
    ----------
    modules : iterable of str
        Names by which they are imported.
    what : str
        Whatever needs them.

    Raises
    ------
    SettingError
        One is not installed.
    """
    missing = [each.replace("_", "-") for each in modules if not is_installed(each)]
    if missing:
        raise missing_library(what, f"{' and '.join(missing)}, which is not installed", extra=extra)
