"""A peer's home directory: its files, and the lock that reserves it for one process."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gossipfl.errors import HomeError, HomeExists, HomeInUse, HomeMissing
from gossipfl.files import make_directory, named_errors, remove_temporaries, write_atomically
from gossipfl.peer.gossip.defaults import known_parameters
from gossipfl.peer.store.record_files import record_files
from gossipfl.peer.store.versions import VERSION, write_facts
from gossipfl.settings import PeerSettings, dump_settings

__all__ = ["Home"]

_NO_LOCKS = "Keep the home on a file system that has locks, such as a local disk."


@dataclass(frozen=True, slots=True)
class Home:
    """Paths of a peer's directory.

    Parameters
    ----------
    directory : Path
        Mode 0700; holds the identity, the settings, the checkpoint, the status and the records.
    """

    directory: Path

    @property
    def settings(self) -> Path:
        """The peer's TOML file."""
        return self.directory / "peer.toml"

    @property
    def checkpoint(self) -> Path:
        """The peer's model and state: safetensors."""
        return self.directory / "checkpoint.safetensors"

    @property
    def facts(self) -> Path:
        """Version and origin of the home: JSON, see `gossipfl.peer.store.versions`."""
        return self.directory / "home.json"

    @property
    def status(self) -> Path:
        """The running peer's last status: JSON."""
        return self.directory / "status.json"

    @property
    def requests(self) -> Path:
        """Requests of the operator to the peer: JSON, see `gossipfl.peer.control`."""
        return self.directory / "requests.json"

    @property
    def examination(self) -> Path:
        """What the running peer observed for ``gossipfl doctor``: JSON, see `gossipfl.peer.doctor.examiner`."""
        return self.directory / "examination.json"

    @property
    def page_token(self) -> Path:
        """The token of those who may steer the peer over HTTP: a line of text, mode 0600."""
        return self.directory / "page.token"

    @property
    def log(self) -> Path:
        """The log of ``gossipfl peer run``: lines of JSON; older ones in files ``.1`` and ``.2``."""
        return self.directory / "peer.log"

    @property
    def records(self) -> Path:
        """Directory of the records: files of JSON lines for each start of the peer."""
        return self.directory / "records"

    @property
    def membership(self) -> Path:
        """Directory of the peer's network membership and secrets."""
        return self.directory / "membership"

    @property
    def ports(self) -> Path:
        """Ports last chosen by the operating system: JSON."""
        return self.directory / "ports.json"

    @property
    def privacy_ledger(self) -> Path:
        """What the peer has spent of its privacy budget."""
        return self.directory / "privacy.jsonl"

    @property
    def contributions(self) -> Path:
        """What each member's models did for the others, as ``gossipfl stats contributions`` added it up: JSON."""
        return self.directory / "contributions.json"

    @property
    def vocabulary(self) -> Path:
        """The vocabulary that ``gossipfl stats words`` agreed on with other members: a word a line."""
        return self.directory / "vocabulary.txt"

    @property
    def typing(self) -> Path:
        """Directory of what the owner types, encrypted, and of its key; see `gossipfl.keyboard.store`."""
        return self.directory / "typing"

    @property
    def departures(self) -> Path:
        """Bytes that have left a keyboard's device each day: JSON."""
        return self.directory / "departures.json"

    @property
    def acquaintances(self) -> Path:
        """Peers met earlier, to find the network again: JSON."""
        return self.directory / "acquaintances.json"

    def require_free(self) -> None:
        """Require that the directory holds no peer yet.

        Raises
        ------
        HomeExists
            It does.
        HomeError
            It cannot be read.
        """
        with named_errors(f"cannot look into {self.directory}", remedy="Choose another --home."):
            taken = self.settings.exists()
        if taken:
            raise HomeExists(
                f"{self.directory} already holds a peer",
                remedy="Choose another --home, or edit its peer.toml, or delete the directory.",
            )

    def create(self, settings: PeerSettings) -> None:
        """Create the home of a new peer.

        Raises
        ------
        HomeExists
            It already holds a peer.
        HomeError
            It cannot be written.
        SettingError
            The gossip algorithm, or one of its parameters, is wrong.
        """
        gossip = known_parameters(settings)
        if gossip is None:
            from gossipfl.peer.gossip.plan import gossip_parameters  # imports torch

            gossip = gossip_parameters(settings)
        self.require_free()
        with named_errors(f"cannot create the home {self.directory}", remedy="Choose another --home."):
            make_directory(self.directory)
            self.directory.chmod(0o700)
            make_directory(self.records)
            write_facts(self, {"version": VERSION})
            write_atomically(self.settings, dump_settings(settings, gossip=gossip).encode())

    def require(self) -> None:
        """Require that the directory holds a peer.

        Raises
        ------
        HomeMissing
            It does not.
        HomeError
            It cannot be read.
        """
        with named_errors(f"cannot look into the home {self.directory}"):
            found = self.settings.is_file()
        if not found:
            raise HomeMissing(
                f"{self.directory} holds no peer",
                expected=f"a file {self.settings}",
                remedy=f"Create a peer there: gossipfl peer init --home {self.directory}",
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the directory for the duration of a ``with`` block; the lock is released however the process ends.

        Raises
        ------
        HomeInUse
            Another process holds the lock.
        HomeError
            It cannot be written.
        """
        with named_errors(f"cannot use the home {self.directory}"):
            descriptor = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            with named_errors(f"cannot lock the home {self.directory}", remedy=_NO_LOCKS):
                is_ours = _try_lock(descriptor, fcntl.LOCK_EX, tries=3)
            if not is_ours:
                owner = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
                raise HomeInUse(
                    f"the home {self.directory} is in use by process {owner}",
                    remedy="Stop that peer first, or use another --home.",
                )
            with suppress(OSError):  # only for people
                os.ftruncate(descriptor, 0)
                os.write(descriptor, f"{os.getpid()}\n".encode())
            remove_temporaries(self.directory)
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Show other processes that this one is about to lock the home, for which libraries have to be imported.

        What shows it is a lock of the settings; it is gone with the process, however that ends.
        """
        with named_errors(f"cannot use the home {self.directory}"):
            descriptor = os.open(self.settings, os.O_RDONLY)
        try:
            with suppress(OSError):  # a file system without locks: `locked` says so
                _try_lock(descriptor, fcntl.LOCK_EX, tries=3)
            yield
        finally:
            os.close(descriptor)

    def is_starting(self) -> bool:
        """Return whether a process shows that it is about to lock the home."""
        try:
            descriptor = os.open(self.settings, os.O_RDONLY)
        except OSError:
            return False
        try:
            return not _try_lock(descriptor, fcntl.LOCK_SH, tries=1)
        except OSError:
            return False
        finally:
            os.close(descriptor)

    def is_running(self) -> bool:
        """Return whether a process holds the lock now.

        Raises
        ------
        HomeError
            It cannot be read.
        """
        path = self.directory / "lock"
        with named_errors(f"cannot look into the home {self.directory}"):
            if not path.exists():
                return False
            descriptor = os.open(path, os.O_RDONLY)
        try:
            return not _try_lock(descriptor, fcntl.LOCK_SH, tries=1)
        finally:
            os.close(descriptor)

    def used_since(self) -> float | None:
        """Return when a process last took the lock, in seconds since 1970; None if none ever did."""
        try:
            return (self.directory / "lock").stat().st_mtime
        except OSError:
            return None

    def next_incarnation(self, *, now: float | None = None, beyond: int = 0) -> int:
        """Assign the number of a new start of this peer, and store it durably before anyone else sees it.

        It is taken from the clock, so a home restored from a copy does not repeat numbers used after the copy was
        made, and exceeds every number known to have been used, so the clock may go back.

        Parameters
        ----------
        now : float, optional
            Seconds since 1970.
        beyond : int
            A number known to others, to be exceeded.

        Returns
        -------
        int
            Milliseconds since 1970, or more; never the same twice.

        Raises
        ------
        HomeError
            The counter's file is damaged, or the home cannot be read or written.
        """
        path = self.directory / "incarnation"
        with named_errors(f"cannot read the home {self.directory}"):
            text = path.read_bytes() if path.exists() else b"0"
            recorded = [incarnation for incarnation, _ in record_files(self.records)]
        if not text.strip().isdigit():
            raise HomeError(
                f"{path} is damaged",
                expected="a whole number",
                got=repr(text[:40]),
                remedy=f"Write a number into it that is higher than those of the files in {self.records}.",
            )
        used = max(int(text), *recorded, beyond)  # if the counter was lost, the records have the number
        incarnation = max(used + 1, int(1000 * (time.time() if now is None else now)))
        with named_errors(f"cannot write into the home {self.directory}"):
            write_atomically(path, f"{incarnation}\n".encode())
        return incarnation


def _try_lock(descriptor: int, kind: int, *, tries: int) -> bool:
    """Try a few times to take the lock, since `Home.is_running` holds it for a moment."""
    for attempt in range(tries):
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if attempt + 1 < tries:
                time.sleep(0.05)
        else:
            return True
    return False
