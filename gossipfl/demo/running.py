"""One demo, from the first process to the summary."""

from __future__ import annotations

import operator
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch

from gossipfl.demo.baselines import measured, own_data
from gossipfl.demo.comparing import compared
from gossipfl.demo.comparison import Difference
from gossipfl.demo.curves import curves, saved
from gossipfl.demo.disruption import Disruption
from gossipfl.demo.page import DemoPage
from gossipfl.demo.plan import KEYBOARD, TOLERANCE_POINTS, DemoPlan
from gossipfl.demo.processes import DemoFailed, PeerProcess, prepare_peers
from gossipfl.demo.summary import Summary
from gossipfl.demo.watching import Observation, checkpoint_distance, observe
from gossipfl.errors import InvalidTask
from gossipfl.peer.store.checkpoint import read_row
from gossipfl.tasks import find_task
from gossipfl.tasks.words.next_word import find_texts

__all__ = ["Progress", "run_demo"]

_LOOK_SECONDS = 0.5
_STARTUP_SECONDS = 120.0
_GRACE_SECONDS = 30.0  # for a peer that was killed to come back and catch up


@dataclass
class Progress:
    """How far a demo is.

    Parameters
    ----------
    metric : str
        Which of the task's metrics is shown.
    history : list of Observation
        All looks so far.
    phase : str
        Description of the current phase.
    """

    metric: str
    history: list[Observation] = field(default_factory=list)
    phase: str = "starting the peers"


def run_demo(
    plan: DemoPlan, *, began: float, show: Callable[[Progress], None], page: DemoPage | None = None
) -> Summary:
    """Carry out a demo.

    Parameters
    ----------
    plan : DemoPlan
    began : float
        Time at which the command was given, on the clock of `time.monotonic`.
    show : callable
        Called about twice a second.
    page : DemoPage, optional
        Shows the peers, kills and revives them as people wish, and keeps the demo going until its time is up.

    Raises
    ------
    DemoFailed
        If a peer ends on its own, or the peers do not come up.
    SettingError, HomeError, TaskError
        If the plan's settings are wrong.
    """
    torch.set_num_threads(1)
    task = find_task(plan.task, plan.task_options(0))
    _require_authors(plan)
    task.dataset()  # wrong data is found out before any process is started
    metric = next(iter(task.metrics))
    progress = Progress(metric)
    processes = prepare_peers(plan)
    look = partial(observe, processes, began=began, shared_size=task.layout.shared_size)
    watch = _Watch(plan, processes, progress, look, show, page)
    settings = plan.settings(0, bootstrap=[], listen="/ip4/127.0.0.1/tcp/0").training
    try:
        for process in processes:
            process.start()
        watch.until_up()
        up_at = time.monotonic()
        disruption = watch.gossip(enough=settings.decay_age)
        gossip_seconds = time.monotonic() - up_at
        last = progress.history[-1]
        watch.enter("the peers say farewell")
        survivors = [process for process in processes if process.is_up]
        for process in survivors:
            process.ask_to_stop()
        for process in survivors:
            process.wait()
    finally:
        for process in processes:
            if process.is_up:
                process.kill()

    watch.enter("training alone, and on all data pooled, to compare")
    rows = {process.index: read_row(process.home.checkpoint)[0] for process in survivors}
    baselines, personal = compared(plan, settings, metric, rows)
    own = own_data(plan)
    final = dict(
        zip(
            rows,
            measured(task, torch.stack([*rows.values()]), [own[index] for index in rows], metric),
            strict=True,
        )
    )
    pooled, alone = ([each[index] for index in final] for each in (baselines.pooled, baselines.alone))
    alive = [*final.values()]
    gap = gain = None
    converged = Summary.has_converged(alive, pooled)
    if plan.task == KEYBOARD:
        gap, gain = Difference.of(pooled, alive), Difference.of(alive, alone)
        converged = Summary.have_converged_on_average(gap, gain)
    picture = plan.directory / "demo.png"
    moments = {"killed_at": disruption.killed_at, "restarted_at": disruption.restarted_at}
    drawn = saved(picture, partial(curves, progress.history, baselines, metric=metric, **moments))
    return Summary(
        converged=converged,
        metric=metric,
        gossip=[final.get(index) for index in range(plan.peers)],
        gossip_mean=statistics.fmean(alive),
        gossip_worst=min(alive),
        pooled=statistics.fmean(pooled),
        alone=list(baselines.alone),
        alone_mean=statistics.fmean(alone),
        personal=personal,
        personal_mean=None if personal is None else statistics.fmean(personal),
        gap_points=round(100 * max(map(operator.sub, pooled, alive)), 3),
        gap_mean_points=None if gap is None else round(gap.mean, 3),
        gap_reach_points=None if gap is None else round(gap.reach, 3),
        gain_mean_points=None if gain is None else round(gain.mean, 3),
        gain_reach_points=None if gain is None else round(gain.reach, 3),
        tolerance_points=TOLERANCE_POINTS,
        consensus_distance=checkpoint_distance(survivors, task.layout.shared_size),
        ages=last.ages,
        messages=last.total("messages_received"),
        bytes=last.total("bytes_received"),
        bytes_a_peer=last.total("bytes_received") // max(1, last.up),
        seconds=round(time.monotonic() - began, 2),
        gossip_seconds=round(gossip_seconds, 2),
        startup_seconds=round(up_at - began, 2),
        alone_steps=baselines.alone_steps,
        pooled_steps=baselines.pooled_steps,
        peers=plan.peers,
        partition=plan.partition,
        task=plan.task,
        seed=plan.seed,
        killed=[process.index for process in processes if process.killed or process.restarts],
        restarted=[process.index for process in processes if process.restarts],
        directory=str(plan.directory),
        picture=str(picture) if drawn else "",
    )


def _require_authors(plan: DemoPlan) -> None:
    if plan.task != KEYBOARD:
        return
    authors = len(find_texts(plan.text).of_user)
    if authors < plan.peers:
        raise InvalidTask(
            f"there are too few authors in {plan.text}",
            expected=f"one for each of {plan.peers} peers",
            got=authors,
            remedy=f"Start fewer: --peers {authors}."
            if authors > 1
            else "Give the texts of two authors or more.",
        )


@dataclass
class _Watch:
    """The peers of a demo while they run, with what is seen of them."""

    plan: DemoPlan
    processes: Sequence[PeerProcess]
    progress: Progress
    look: Callable[[], Observation]
    show: Callable[[Progress], None]
    page: DemoPage | None = None

    def enter(self, phase: str) -> None:
        self.progress.phase = phase
        self.show(self.progress)
        if self.page is not None and self.progress.history:
            self.page.publish(self.progress.history[-1], phase=phase, metric=self.progress.metric)

    def next_look(self) -> Observation:
        time.sleep(_LOOK_SECONDS)
        for process in self.processes:
            process.require_up()
        seen = self.look()
        self.progress.history.append(seen)
        self.show(self.progress)
        if self.page is not None:
            self.page.publish(seen, phase=self.progress.phase, metric=self.progress.metric)
            self.page.grant(self.processes)
        return seen

    def until_up(self) -> None:
        deadline = time.monotonic() + _STARTUP_SECONDS
        while not self.next_look().all_up:
            if time.monotonic() > deadline:
                raise DemoFailed(
                    "the peers did not come up",
                    expected=f"all within {_STARTUP_SECONDS:.0f} s",
                    remedy="See their logs.",
                )

    def gossip(self, *, enough: int) -> Disruption:
        """Watch until all ages are enough or time is up; half-way through, kill and restart as planned."""
        start = time.monotonic()
        disruption = Disruption(self.processes, count=self.plan.kill)
        self.progress.phase = "gossip"
        while True:
            seen = self.next_look()
            elapsed = time.monotonic() - start
            half_way = max(seen.ages) >= enough / 2 or elapsed >= self.plan.duration / 2
            self.progress.phase = disruption.act(seen, half_way=half_way) or self.progress.phase
            out_of_time = elapsed >= self.plan.duration + (0 if disruption.is_over else _GRACE_SECONDS)
            is_done = min(seen.ages) >= enough and disruption.is_over
            if out_of_time or (is_done if self.page is None else self.page.is_finished):
                return disruption
