"""Stages of work done side by side: in processes, and on a card several in each, on streams of their own."""

from __future__ import annotations

import contextlib
import multiprocessing
import queue
from collections.abc import Callable, Generator, Hashable, Iterable
from dataclasses import dataclass
from typing import Any

import torch

__all__ = ["Places", "done_side_by_side"]

Stage = tuple[str, dict[str, Any]]
Do = Callable[[Stage], Generator[None, None, str]]


@dataclass(frozen=True)
class Places:
    """Where stages are done.

    Parameters
    ----------
    processes : int
    streams : int
        Stages at a time in each process. Kernels of small models leave most of a card idle, and those of other
        processes wait until it is their turn.
    device : str
    memory : float, optional
        Of the card for all processes, in GiB.
    """

    processes: int = 1
    streams: int = 1
    device: str = "cpu"
    memory: float | None = None


def done_side_by_side(
    ready: Callable[[], Iterable[Stage]], do: Do, places: Places
) -> Iterable[tuple[Stage, str]]:
    """Do stages as soon as they are ready, the first first; yield each with what is said of it.

    Parameters
    ----------
    ready : callable
        Stages that may be done now and are not done yet, asked again whenever one has ended.
    do : callable
        A generator that does a stage, a bit at a time, and returns what there is to say.
    places : Places
    """
    forked = multiprocessing.get_context("fork")
    tasks, said = forked.Queue(), forked.Queue()
    workers = [
        forked.Process(target=_work, args=(tasks, said, do, places), daemon=True)
        for _ in range(places.processes)
    ]
    for worker in workers:
        worker.start()
    begun: set[Hashable] = set()
    open_stages = 0
    try:
        while True:
            for stage in ready():
                if open_stages >= places.processes * places.streams:
                    break
                if (key := _key(stage)) not in begun:
                    begun.add(key)
                    tasks.put(stage)
                    open_stages += 1
            if not open_stages:
                return
            try:
                found = said.get(timeout=1)
            except queue.Empty:
                if ended := [worker for worker in workers if worker.exitcode is not None]:
                    raise SystemExit(
                        f"a process has ended by itself: exit code {ended[0].exitcode}"
                    ) from None
                continue
            open_stages -= 1
            yield found
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()


def _key(stage: Stage) -> Hashable:
    return stage[0], tuple(sorted(stage[1].items()))


def _work(tasks: Any, said: Any, do: Do, places: Places) -> None:
    torch.set_num_threads(1)
    on_card = places.device.startswith("cuda")
    if on_card and places.memory is not None:
        whole = torch.cuda.get_device_properties(places.device).total_memory
        share = places.memory * 2**30 / places.processes / whole
        torch.cuda.set_per_process_memory_fraction(min(1.0, share), torch.device("cuda", 0))
    # Of high priority, for these come from another pool than the streams that graphs are captured on.
    free = [torch.cuda.Stream(priority=-1) if on_card else None for _ in range(places.streams)]
    at_work: list[tuple[Stage, Generator[None, None, str], Any]] = []
    while True:
        while free and (not at_work or not tasks.empty()):
            try:
                stage = tasks.get(timeout=None if not at_work else 0.01)
            except queue.Empty:
                break
            at_work.append((stage, do(stage), free.pop()))
        going = []
        for stage, generator, stream in at_work:
            try:
                with torch.cuda.stream(stream) if stream is not None else contextlib.nullcontext():
                    next(generator)
            except StopIteration as ended:
                said.put((stage, ended.value))
                free.append(stream)
                if on_card:
                    torch.cuda.empty_cache()
            else:
                going.append((stage, generator, stream))
        at_work = going
