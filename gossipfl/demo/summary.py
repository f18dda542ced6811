"""Summary of a demo: a table for people, and one object for machines."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table

from gossipfl.demo.comparison import Difference
from gossipfl.demo.plan import TOLERANCE_POINTS

__all__ = ["Summary", "summary_table"]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The end of a demo; ``--json`` prints these fields.

    Parameters
    ----------
    converged : bool
        Whether the worst surviving peer is within ``tolerance_points`` of pooled training. Of keyboards, whether
        the mean over authors is, with its 95 % interval, and above lone training.
    metric : str
        Metric of the following figures: shares between 0 and 1.
    gossip : list of float or None
        Of each peer at the end, on its test samples, which of the digits are common; None for a killed one.
    gossip_mean, gossip_worst : float
        Over the surviving peers.
    pooled : float
        One model trained on all data; the mean over surviving peers where their test samples differ.
    personal : list of float or None
        Of keyboards: each surviving peer's personal model on its author's later words.
    personal_mean : float or None
    alone, alone_mean
        Each peer on its own data; the mean over surviving peers.
    gap_points : float
        Pooled minus gossip of the peer where that is largest, in percentage points; negative if every peer is
        better than pooled.
    gap_mean_points, gap_reach_points : float or None
        Of keyboards: pooled minus gossip, the mean over surviving authors and half the width of its 95 % interval.
    gain_mean_points, gain_reach_points : float or None
        The same of gossip minus lone training.
    tolerance_points : float
        The largest gap that counts as converged: 2; of keyboards, upper end of the interval of the mean gap.
    consensus_distance : float or None
        Mean squared distance of the surviving peers' final models from their mean.
    ages : list of int
        Of the surviving peers' models.
    messages, bytes : int
        Frames received by all peers, models and views alike, and their bytes.
    bytes_a_peer : int
    seconds, gossip_seconds, startup_seconds : float
        From the command to the summary; from the last peer's start-up to the first one's farewell; from the
        command to the last peer's start-up.
    alone_steps, pooled_steps : int
        Training steps of lone and of pooled training.
    peers, partition, task, seed, killed, restarted
        What was run.
    directory, picture : str
        Where the peers' homes are, and the curves; ``picture`` is empty without matplotlib, or room on the disk.
    """

    converged: bool
    metric: str
    gossip: list[float | None]
    gossip_mean: float
    gossip_worst: float
    pooled: float
    alone: list[float]
    alone_mean: float
    personal: list[float] | None
    personal_mean: float | None
    gap_points: float
    gap_mean_points: float | None
    gap_reach_points: float | None
    gain_mean_points: float | None
    gain_reach_points: float | None
    tolerance_points: float
    consensus_distance: float | None
    ages: list[int]
    messages: int
    bytes: int
    bytes_a_peer: int
    seconds: float
    gossip_seconds: float
    startup_seconds: float
    alone_steps: int
    pooled_steps: int
    peers: int
    partition: str
    task: str
    seed: int
    killed: list[int]
    restarted: list[int]
    directory: str
    picture: str

    @staticmethod
    def has_converged(gossip: Sequence[float], pooled: Sequence[float]) -> bool:
        """Whether every peer is within the tolerance of pooled training on its test samples."""
        return bool(gossip) and max(map(operator.sub, pooled, gossip)) * 100 <= TOLERANCE_POINTS + 1e-9

    @staticmethod
    def have_converged_on_average(gap: Difference, gain: Difference) -> bool:
        """Whether the mean gap to pooled training is surely within the tolerance, and gossip above lone training.

        A single author's gap says little: it is as wide as chance makes it on some thousand words.
        """
        return gap.upper <= TOLERANCE_POINTS and gain.mean > 0


def summary_table(summary: Summary) -> Table:
    """Lay out a summary."""
    table = Table(title=f"{summary.peers} peers, {summary.task}, {summary.partition}, seed {summary.seed}")
    table.add_column("training", style="bold")
    table.add_column(summary.metric, justify="right")
    table.add_column("")
    table.add_row("alone, mean", _percent(summary.alone_mean), "each peer on its own data, never talking")
    table.add_row("gossip, mean", _percent(summary.gossip_mean), _of_mean(summary))
    table.add_row("gossip, worst peer", _percent(summary.gossip_worst), _of_worst(summary))
    if summary.personal_mean is not None:
        table.add_row(
            "gossip + personal, mean", _percent(summary.personal_mean), "each author's own words mixed in"
        )
    table.add_row("all data pooled", _percent(summary.pooled), "what nobody had to share")
    table.add_section()
    distance = summary.consensus_distance
    table.add_row("consensus distance", "–" if distance is None else f"{distance:.2g}", "mean ‖x − x̄‖²")
    table.add_row(
        "messages",
        f"{summary.messages:,}",
        f"{summary.bytes / 1e6:.1f} MB exchanged, {summary.bytes_a_peer / 1e6:.1f} MB a peer",
    )
    table.add_row("seconds", f"{summary.seconds:.1f}", f"of which {summary.gossip_seconds:.1f} s of gossip")
    if summary.killed:
        again = f"; peer {', '.join(map(str, summary.restarted))} came back" if summary.restarted else ""
        table.add_row(
            "killed", str(len(summary.killed)), f"peers {', '.join(map(str, summary.killed))}{again}"
        )
    return table


def _of_mean(summary: Summary) -> str:
    if summary.gap_mean_points is None or summary.gap_reach_points is None:
        return "what the peers share in the end"
    return f"{_verdict(summary, summary.gap_mean_points, summary.gap_reach_points)}; {_gain(summary)}"


def _of_worst(summary: Summary) -> str:
    if summary.gap_mean_points is not None:
        return f"{summary.gap_points:.1f} points below pooled at most, of any author"
    return _verdict(summary, summary.gap_points)


def _gain(summary: Summary) -> str:
    return f"{summary.gain_mean_points:+.1f} ± {summary.gain_reach_points:.1f} beside alone"


def _verdict(summary: Summary, gap: float, reach: float | None = None) -> str:
    colour = "green" if summary.converged else "red"
    relation = "within" if summary.converged else "NOT within"
    side = "below" if gap >= 0 else "above"
    width = "" if reach is None else f" ± {reach:.1f}"
    return f"[{colour}]{abs(gap):.1f}{width} points {side} pooled: {relation} {summary.tolerance_points:g}[/]"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
