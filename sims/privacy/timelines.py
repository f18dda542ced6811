"""Linear runs of message-driven scenarios, from their timelines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from gossipfl.algorithms import MessageAlgorithm
from sims.compiler.operations import ARRIVAL, EMIT, ON_ANSWER, ON_CLOCK
from sims.compiler.timeline import Timeline, Window, conditions_of, ticks
from sims.privacy.errors import NotAccountable
from sims.privacy.events_learned import LearnedEvents, Sent
from sims.privacy.linear_run import LinearRun
from sims.world import World
from sims.world.networks import neighbour_lists

__all__ = ["message_run"]


def message_run(
    world: World,
    *,
    private_start: bool,
    deviation: float = 0.0,
    number: int | None = None,
    on_time: Callable[[float], None] = lambda rounds: None,
) -> LinearRun:
    """Find the linear run of a scenario whose nodes send on their own schedule.

    Parameters
    ----------
    world : World
    private_start : bool
        Whether each node starts from a row of its own that is private.
    deviation : float
        Of the noise on each model that is sent.
    number : int, optional
        Of the shared parameters the one to follow, where messages carry parts of models.
    on_time : callable, optional
        Told how many rounds are done.

    Raises
    ------
    NotAccountable
        If the algorithm is not linear.
    """
    scenario, algorithm = world.scenario, world.message_algorithm
    if scenario.gate is not None:
        raise NotAccountable(
            "a gate decides by what models say, which is not linear", remedy="Leave the table [gate] out."
        )
    indptr, indices = neighbour_lists(scenario, class_counts=world.class_counts)
    conditions = conditions_of(scenario, indptr=indptr, indices=indices, message_bytes=world.message_bytes)
    timeline = Timeline(conditions._replace(notes_arrivals=True))
    sharing = algorithm.behaviour.sharing
    events = LearnedEvents(
        algorithm if number is None else _of_whole_models(world),
        scenario.training,
        nodes=scenario.population.nodes,
        enabled=scenario.training.enabled,
        private_start=private_start,
        deviations=[deviation] * scenario.population.nodes,
    )
    trains = algorithm.behaviour.trains == "receipt"
    waits = trains and conditions.step > 0  # a model that arrived may never be taken in
    pending: dict[int, Sent] = {}
    end = ticks(scenario.stop.rounds * scenario.network.period)
    for window in timeline.windows(end):
        carried = None if number is None else sharing.carries(torch.from_numpy(window.part), number).numpy()
        aged = sharing.ages == 1
        pending = _happened(window, events, pending, trains=trains, waits=waits, carried=carried, aged=aged)
        # Pending models are known from now on by their places among the references.
        timeline.kept(-1 - np.arange(len(window.pending), dtype=np.int64))
        on_time(float(window.time[-1]) / end * scenario.stop.rounds if len(window) else 0.0)
    return events.finished()


def _of_whole_models(world: World) -> MessageAlgorithm:
    """The algorithm as it is for the numbers that a message carries."""
    section = world.scenario.algorithm.model_copy(update={"sharing": {"kind": "whole"}})
    algorithm = section.build()
    assert isinstance(algorithm, MessageAlgorithm)  # noqa: S101 - it is the one of the world
    return algorithm


def _happened(
    window: Window,
    events: LearnedEvents,
    kept: dict[int, Sent],
    *,
    trains: bool,
    waits: bool,
    carried: NDArray[np.bool_] | None,
    aged: bool,
) -> dict[int, Sent]:
    """Let the operations of a window happen; return the models that are pending after it.

    Where one number is followed, ``carried`` says which models bring it; ``aged``, whether others bring their age.
    """
    last = _last_uses(window)
    known = {reference: sent for reference, sent in kept.items() if reference in last}
    names = Counter(sent.number for sent in known.values())  # a model may be pending by several references

    def drop(sent: Sent) -> None:
        names[sent.number] -= 1
        if not names[sent.number]:
            events.forget(sent)

    for place in range(len(window)):
        kind, node = int(window.kind[place]), int(window.node[place])
        if kind == EMIT:
            if place in last:
                known[place] = events.send(node)
                names[known[place].number] += 1
            continue
        if kind == ON_CLOCK:
            events.clock(node)
            continue
        used = {int(window.ref[place])}
        if kind == ARRIVAL:
            (reference,) = used
            before, known[reference] = known[reference], events.arrival(node, known[reference])
            names[known[reference].number] += 1
            drop(before)
        elif kind == ON_ANSWER:
            used.add(int(window.begun[place]))
            events.answer(node, known[int(window.ref[place])], known[int(window.begun[place])])
        elif carried is not None and not carried[place]:
            events.passed_by(node, known[int(window.ref[place])], trains=trains, aged=aged, has_arrived=waits)
        else:
            events.receipt(node, known[int(window.ref[place])], trains=trains, has_arrived=waits)
        for reference in used:
            if last[reference] == place:
                drop(known.pop(reference))
    after = {-1 - slot: known[int(reference)] for slot, reference in enumerate(window.pending)}
    held = {sent.number for sent in after.values()}
    assert {sent.number for sent in known.values()} <= held  # noqa: S101 - the rest had its last use
    return after


def _last_uses(window: Window) -> dict[int, int]:
    """The last place in the window at which each model is taken in; its length if it is pending after it."""

    def uses() -> Iterator[tuple[int, int]]:
        for place in np.flatnonzero((window.kind != EMIT) & (window.kind != ON_CLOCK)):
            yield int(window.ref[place]), int(place)
            if window.kind[place] == ON_ANSWER:
                yield int(window.begun[place]), int(place)
        for reference in window.pending:
            yield int(reference), len(window)

    return dict(uses())
