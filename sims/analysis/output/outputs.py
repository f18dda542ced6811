"""The files an analysis is written to."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from sims.analysis.comparison.analysis import Analysis
from sims.analysis.errors import MissingLibrary, NotWritable
from sims.analysis.output.tables import curves_table, runs_table, write_table

__all__ = ["Outputs", "write_outputs"]


# What a file needs: a library and the extra that installs it, and how its name may end; directories have any name.
_NEEDS = {
    "figures": ("matplotlib", "sims"),
    "tensorboard": ("tensorboardX", "tensorboard"),
    "report": ("plotly", "sims"),
}
_SUFFIXES = {
    "csv": (".csv",),
    "parquet": (".parquet",),
    "curves": (".csv", ".parquet"),
    "report": (".html", ".htm"),
}


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """Files to write; None for those not wanted.

    Parameters
    ----------
    csv, parquet : Path
        A row a run.
    curves : Path
        A row an evaluation; CSV or Parquet by its suffix.
    figures : Path
        A directory for SVG and PDF files.
    tensorboard : Path
        A directory for event files.
    report : Path
        One HTML page.
    """

    csv: Path | None = None
    parquet: Path | None = None
    curves: Path | None = None
    figures: Path | None = None
    tensorboard: Path | None = None
    report: Path | None = None

    @property
    def wanted(self) -> dict[str, Path]:
        """The wanted ones by their names, in the order in which they are written."""
        return {name: path for name, path in vars(self).items() if path is not None}

    def check(self) -> None:
        """Check for whatever would fail at the end, before anything is computed.

        Raises
        ------
        MissingLibrary
            If a library is not installed.
        NotWritable
            If a file's suffix is wrong, or a directory stands in its place.
        """
        for name, path in self.wanted.items():
            library, extra = _NEEDS.get(name, (None, None))
            if library is not None and find_spec(library) is None:
                raise MissingLibrary(
                    f"writing {path} needs {library}, which is not installed",
                    remedy=f"Install it: pip install 'gossipfl[{extra}]'.",
                )
            allowed = _SUFFIXES.get(name)
            if allowed is None:
                if path.exists() and not path.is_dir():
                    raise NotWritable(f"{path} is a file", expected="the name of a directory")
            elif path.suffix.lower() not in allowed:
                raise NotWritable(
                    f"{path} has the wrong file type", expected=f"a name ending in {' or '.join(allowed)}"
                )
            elif path.is_dir():
                raise NotWritable(f"{path} is a directory", expected="the name of a file")


def write_outputs(analysis: Analysis, outputs: Outputs) -> list[Path]:
    """Write the requested files.

    Returns
    -------
    list of Path
        The files and directories written.

    Raises
    ------
    NotWritable
        If one cannot be written.
    """
    written: list[Path] = []
    try:
        for name, path in outputs.wanted.items():
            written += _write(analysis, name, path)
    except OSError as error:
        raise NotWritable(
            f"{error.filename or 'a file of results'} cannot be written", got=error.strerror or str(error)
        ) from error
    return written


def _write(analysis: Analysis, name: str, path: Path) -> list[Path]:
    if name == "figures":
        from sims.analysis.output.figures import write_figures

        return write_figures(analysis, path)
    if name == "tensorboard":
        from sims.analysis.output.tensorboard import write_events

        write_events(analysis, path)
    elif name == "report":
        from sims.analysis.output.report.page import write_report

        write_report(analysis, path)
    else:
        write_table(curves_table(analysis) if name == "curves" else runs_table(analysis), path)
    return [path]
