"""The command in a process forked from one that has imported the libraries already.

It is a process like any other, with a home, a lock, signals and an exit code of its own, but it starts in a
tenth of the time. What a start from nothing is like is tested where that matters.
"""

import multiprocessing
import os
import sys

import gossipfl.cli.running  # noqa: F401  (for the server that forks)

SERVER = multiprocessing.get_context("forkserver")


def _run(arguments: list[str], out: str, err: str) -> None:
    os.setsid()
    for path, descriptor in ((out, 1), (err, 2)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(file, descriptor)
        os.close(file)
    from gossipfl.cli.main import main

    sys.argv = ["gossipfl", *arguments]
    main()


class ForkedProcess:
    """As much of `subprocess.Popen` as the tests use."""

    def __init__(self, arguments: list[str], *, out: str, err: str) -> None:
        SERVER.set_forkserver_preload([__name__])
        self._process = SERVER.Process(target=_run, args=(arguments, out, err))
        self._process.start()
        self.pid = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise TimeoutError(f"the process still runs after {timeout} s")
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()

    def terminate(self) -> None:
        self._process.terminate()
