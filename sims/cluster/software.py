"""The software that computes results, and in which of its versions two processes differ."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["differences", "software"]

_LIBRARIES = ("gossipfl", "ray", "torch", "numpy", "numba", "scipy", "networkx", "polars")
_OWN = ("topology", "gossipfl", "sims")
_SUFFIXES = (".py", ".cpp")  # of code
_DIGITS = 12


def software() -> dict[str, str]:
    """Versions of what results depend on: Python, libraries, and gossipfl's own code as a digest.

    The digest tells apart two checkouts of the same version.
    """
    found = {"python": ".".join(platform.python_version_tuple()[:2])}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found | {"gossipfl's code": _digest_of_code()}


def differences(expected: Mapping[str, str], found: Mapping[str, str]) -> tuple[str, str]:
    """Return the versions that differ, as expected and as found, readable; two empty strings if none does.

    Examples
    --------
    >>> differences({"python": "3.12", "torch": "2.9"}, {"python": "3.11", "torch": "2.9"})
    ('python 3.12', 'python 3.11')
    """
    names = [name for name in expected if found.get(name, "none") != expected[name]]
    here, there = (
        ", ".join(f"{name} {versions.get(name, 'none')}" for name in names) for versions in (expected, found)
    )
    return here, there


@cache
def _digest_of_code() -> str:
    digest = hashlib.sha256()
    for package in _OWN:
        place = Path(str(import_module(package).__file__)).parent
        for file in sorted(file for file in place.rglob("*") if file.suffix in _SUFFIXES):
            digest.update(f"{package}/{file.relative_to(place).as_posix()}\n".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()[:_DIGITS]
