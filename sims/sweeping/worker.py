"""The loop of a worker process: take a job, run it, report its outcome.

Nothing heavy is imported before the number of threads is settled.
"""

from __future__ import annotations

import os
from multiprocessing.connection import Connection

from sims.sweeping.means import Means

__all__ = ["work"]


def work(connection: Connection, means: Means) -> None:
    """Do jobs until told to stop, or the other end of the connection is gone.

    Sends True once it is ready, then for each ``(job, directory)`` it receives numbers between 0 and 1, how far
    the run is, and an `Outcome`. Anything that arrives during a run asks it to stop.

    Parameters
    ----------
    connection : Connection
    means : Means
    """
    os.setpgid(0, 0)  # Ctrl-C reaches the process that shares out the jobs alone
    os.environ |= means.environment
    from sims.sweeping.single_run import do
    from sims.world.trace_cache import Traces

    traces = Traces()
    try:
        connection.send(True)
        while (given := connection.recv()) is not None:
            job, directory = given
            outcome = do(
                job, directory, means, traces=traces, on_share=connection.send, interrupted=connection.poll
            )
            connection.send(outcome)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
