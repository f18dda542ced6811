"""Installed packages with entry points, for tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

METADATA = "Metadata-Version: 2.1\nName: {}\nVersion: 1.0\n"


def install(site: Path, name: str, source: str, points: Mapping[str, Mapping[str, str]]) -> None:
    """Put a package of one module where the interpreter looks for packages.

    Parameters
    ----------
    site : Path
        A directory on ``sys.path``.
    name : str
        Of the module.
    source : str
    points : mapping
        Groups of entry points, each a mapping of names to objects.
    """
    (site / f"{name}.py").write_text(source, encoding="utf-8")
    information = site / f"{name}-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(METADATA.format(name.replace("_", "-")))
    lines = [
        f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in named.items()) for group, named in points.items()
    ]
    (information / "entry_points.txt").write_text("\n".join(lines))
