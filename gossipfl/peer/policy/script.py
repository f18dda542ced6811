"""An operator's own program whose exit code is a condition for training."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Final

import trio

from gossipfl.errors import SettingError
from gossipfl.peer.policy.decision import Reading

__all__ = ["read_script", "require_script"]

_KEPT_BYTES: Final = 4096
_SHOWN_CHARACTERS: Final = 200
_REAP_SECONDS: Final = 1.0
_PASSED_ON: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "XDG_RUNTIME_DIR", "DBUS_SYSTEM_BUS_ADDRESS")


def require_script(path: Path) -> None:
    """Require a program that only this user, or the administrator, can have written.

    Raises
    ------
    SettingError
        It is missing, cannot be run, or others may write it.
    """
    why = _why_not(path)
    if why is not None:
        raise SettingError(
            f"policy.script: {path} {why}",
            expected="a program that this user may run, and that others may not write",
            remedy="Begin it with a line such as #!/bin/sh, and run chmod 700 on it.",
        )


def _why_not(path: Path) -> str | None:
    try:
        found = path.stat()
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if not stat.S_ISREG(found.st_mode):
        return "is no file"
    if not os.access(path, os.X_OK):
        return "may not be run"
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or found.st_uid not in {0, os.geteuid()}:
        return "may be written by others"
    return None


async def read_script(path: Path, *, seconds: float) -> Reading:
    """Run a program until it ends, or kill it with all processes of its group.

    It runs without a shell and without input, in its own directory, with few environment variables. The first
    line of its output is kept; whatever else it writes is read and dropped.

    Parameters
    ----------
    seconds : float
        Time after which it is killed.

    Returns
    -------
    Reading
        1 if it exited with code 0, 0 with another code, and None if it could not be run to its end.
    """
    why = await trio.to_thread.run_sync(_why_not, path)
    if why is not None:
        return Reading(value=None, text=f"{path} {why}")
    try:
        process = await trio.lowlevel.open_process(
            [str(path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=path.parent,
            env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            start_new_session=True,
        )
    except OSError as error:
        return Reading(value=None, text=f"{path} cannot be run: {error.strerror}")
    output = bytearray()
    try:
        with trio.move_on_after(seconds) as deadline:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_drain, process, output)
                code = await process.wait()
                nursery.cancel_scope.cancel()  # its descendants may keep the pipe open
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        with trio.CancelScope(deadline=trio.current_time() + _REAP_SECONDS, shield=True):
            await process.wait()
        await _read_rest(process, output)
    if deadline.cancelled_caught:
        return Reading(value=None, text=f"{path} did not end within {seconds:g} s and was killed")
    said = _first_line(output)
    if code < 0:
        return Reading(value=None, text=f"{path} was ended by a signal: {signal.strsignal(-code)}{said}")
    return Reading(value=float(code == 0), text=f"{path.name} exited with code {code}{said}")


async def _drain(process: trio.Process, output: bytearray) -> None:
    assert isinstance(process.stdout, trio.lowlevel.FdStream)  # noqa: S101 - a pipe was asked for
    with suppress(trio.BrokenResourceError):
        while part := await process.stdout.receive_some(65536):
            output += part[: _KEPT_BYTES - len(output)]


async def _read_rest(process: trio.Process, output: bytearray) -> None:
    """Read what was written at the very end, and close the pipe."""
    assert isinstance(process.stdout, trio.lowlevel.FdStream)  # noqa: S101 - a pipe was asked for
    with suppress(OSError):
        output += os.read(process.stdout.fileno(), max(1, _KEPT_BYTES - len(output)))
    with trio.CancelScope(shield=True):
        await process.stdout.aclose()


def _first_line(output: bytes | bytearray) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    line = "".join(each for each in lines[0] if each.isprintable())[:_SHOWN_CHARACTERS] if lines else ""
    return f": {line}" if line else ""
