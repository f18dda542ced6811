"""A process that has imported what peers need, from which a demo forks its peers.

A forked peer is a process like any other, with a home, a lock, signals and an exit code of its own, but it does
not import torch again, which takes seconds of CPU.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.forkserver
import multiprocessing.pool
import os
import runpy
import sys
from pathlib import Path
from typing import Final

__all__ = ["WarmProcess", "warm_pool", "warm_up"]

#: By name, as commands are imported by nobody.
_PRELOADED: Final = "gossipfl.cli.forked"
_CONTEXT = multiprocessing.get_context("forkserver")


def warm_up() -> None:
    """Start the process that forks, which imports in the background; once for each program."""
    _CONTEXT.set_forkserver_preload([_PRELOADED])
    multiprocessing.forkserver.ensure_running()


class WarmProcess:
    """``gossipfl`` with some arguments, in a process of its own, which sees its standard input end with this one.

    Parameters
    ----------
    arguments : list of str
    log : Path
        File to which its output is appended.
    """

    def __init__(self, arguments: list[str], *, log: Path) -> None:
        warm_up()
        self._process = _CONTEXT.Process(target=_run, args=(arguments, str(log)))
        self._process.start()
        assert self._process.pid is not None  # noqa: S101 - it has been started
        self.pid: int = self._process.pid

    @property
    def is_up(self) -> bool:
        """Whether the process is running."""
        return self._process.is_alive()

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.is_up:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End the process with SIGKILL, and wait for it."""
        self._process.kill()
        self._process.join()

    def wait(self, seconds: float) -> bool:
        """Wait until the process has ended; return whether it has."""
        self._process.join(seconds)
        return not self.is_up


def warm_pool(processes: int) -> multiprocessing.pool.Pool:
    """Processes that compute, of one thread each; leaving their ``with`` block ends them, whatever they do."""
    warm_up()
    return _CONTEXT.Pool(processes, initializer=_compute)


def _compute() -> None:
    import torch

    os.setsid()  # as the peers: Ctrl-C is for the demo
    torch.set_num_threads(1)


def _run(arguments: list[str], log: str) -> None:
    os.setsid()  # Ctrl-C is for the demo, which then stops its peers itself
    parent = multiprocessing.parent_process()
    assert parent is not None  # noqa: S101 - it was forked for another process
    os.dup2(parent.sentinel, 0)  # a pipe that ends with the demo, however it ends
    sys.stdin = os.fdopen(0, closefd=False)  # in place of the null device
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
    sys.argv = ["gossipfl", *arguments]
    runpy.run_module("gossipfl", run_name="__main__", alter_sys=True)
