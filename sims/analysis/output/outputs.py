"""The files an analysis is written to."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from sims.analysis.comparison.analysis import Analysis
from sims.analysis.errors import MissingLibrary, NotWritable
from sims.analysis.output.tables import curves_table, runs_table, write_table

__all__ = ["Outputs", "write_outputs"]


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """Files to write; None for those not wanted.

    Parameters
    ----------
    report : Path
        One HTML page.
    figures : Path
        A directory for SVG and PDF files.
    csv, parquet : Path
        A row a run.
    curves : Path
        A row an evaluation; CSV or Parquet by its suffix.
    tensorboard : Path
        A directory for event files.
    """

    report: Path | None = None
    figures: Path | None = None
    csv: Path | None = None
    parquet: Path | None = None
    curves: Path | None = None
    tensorboard: Path | None = None

    def check(self) -> None:
        """Check for whatever would fail at the end, before anything is computed.

        Raises
        ------
        MissingLibrary
            If a library is not installed.
        NotWritable
            If a file's suffix is wrong, or a directory stands in its place.
        """
        needs = (
            (self.report, "plotly", "sims"),
            (self.figures, "matplotlib", "sims"),
            (self.tensorboard, "tensorboardX", "tensorboard"),
        )
        for path, library, extra in needs:
            if path is not None and find_spec(library) is None:
                raise MissingLibrary(
                    f"writing {path} needs {library}, which is not installed",
                    remedy=f"Install it: pip install 'gossipfl[{extra}]'.",
                )
        suffixes = (
            (self.report, (".html", ".htm")),
            (self.csv, (".csv",)),
            (self.parquet, (".parquet",)),
            (self.curves, (".csv", ".parquet")),
        )
        for path, allowed in suffixes:
            if path is not None and path.suffix.lower() not in allowed:
                raise NotWritable(
                    f"{path} has the wrong file type", expected=f"a name ending in {' or '.join(allowed)}"
                )
            if path is not None and path.is_dir():
                raise NotWritable(f"{path} is a directory", expected="the name of a file")
        for path in (self.figures, self.tensorboard):
            if path is not None and path.exists() and not path.is_dir():
                raise NotWritable(f"{path} is a file", expected="the name of a directory")


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
    if outputs.csv is not None:
        write_table(runs_table(analysis), outputs.csv)
        written.append(outputs.csv)
    if outputs.parquet is not None:
        write_table(runs_table(analysis), outputs.parquet)
        written.append(outputs.parquet)
    if outputs.curves is not None:
        write_table(curves_table(analysis), outputs.curves)
        written.append(outputs.curves)
    try:
        if outputs.figures is not None:
            from sims.analysis.output.figures import write_figures

            written += write_figures(analysis, outputs.figures)
        if outputs.tensorboard is not None:
            from sims.analysis.output.tensorboard import write_events

            write_events(analysis, outputs.tensorboard)
            written.append(outputs.tensorboard)
        if outputs.report is not None:
            from sims.analysis.output.report import write_report

            write_report(analysis, outputs.report)
            written.append(outputs.report)
    except OSError as error:
        raise NotWritable(
            f"{error.filename or 'a file of results'} cannot be written", got=error.strerror or str(error)
        ) from error
    return written
