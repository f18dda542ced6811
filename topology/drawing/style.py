"""The common style of all pictures, and reproducible files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from topology.errors import InvalidParameter

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ACCENT", "EDGE", "INK", "MUTED", "NODE", "PALETTE", "new_figure", "save", "styled"]

INK = "#22303c"
MUTED = "#8a97a3"
EDGE = "#7c93a8"
NODE = "#1f6f8b"
ACCENT = "#d1495b"
PALETTE = (
    "#1f6f8b",
    "#d1495b",
    "#edae49",
    "#3d8361",
    "#6f5aa8",
    "#c06c2c",
    "#4c9bd6",
    "#8d6748",
    "#a23b72",
    "#5b7a1f",
)
"""Line colours that most colour-blind readers can distinguish; further lines reuse them dashed."""

_FORMATS = (".svg", ".png", ".pdf")


@contextmanager
def styled() -> Iterator[None]:
    """Draw with this package's look, without a display and without touching the caller's settings."""
    import matplotlib as mpl

    settings = {
        "svg.hashsalt": "gossipfl",
        "svg.fonttype": "path",
        "font.size": 9,
        "axes.edgecolor": MUTED,
        "axes.labelcolor": INK,
        "axes.titlesize": 10,
        "axes.titlecolor": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "xtick.color": INK,
        "ytick.color": INK,
        "text.color": INK,
        "legend.frameon": False,
        "figure.dpi": 100,
    }
    with mpl.rc_context(settings):
        yield


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of this size in inches that no window system ever sees."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure as SVG, PNG or PDF, the same bytes every time.

    Raises
    ------
    InvalidParameter
        If the suffix is not one of these.
    """
    if path.suffix.lower() not in _FORMATS:
        raise InvalidParameter(
            f"cannot draw into {path.name!r}", expected=f"a file ending in {', '.join(_FORMATS)}"
        )
    undated = {".svg": {"Date": None}, ".png": {"Software": None}, ".pdf": {"CreationDate": None}}
    with styled():
        figure.savefig(path, metadata=undated[path.suffix.lower()], dpi=160)
