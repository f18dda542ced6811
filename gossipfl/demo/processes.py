"""The peers of a demo as processes of their own: started with the command an operator would use."""

from __future__ import annotations

import signal
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gossipfl.demo.plan import DemoPlan
from gossipfl.demo.warm import WarmProcess
from gossipfl.errors import GossipflError, HomeError
from gossipfl.files import named_errors
from gossipfl.network import load_or_create_identity
from gossipfl.peer import Home, read_status

__all__ = ["DemoFailed", "PeerProcess", "prepare_peers"]

_STOP_SECONDS = 10.0


class DemoFailed(GossipflError):
    """A demo could not be carried through."""


@dataclass
class PeerProcess:
    """One peer, its directory and its process.

    Parameters
    ----------
    index : int
    home : Home
    """

    index: int
    home: Home
    killed: bool = False
    restarts: int = 0
    _process: WarmProcess | None = field(default=None, repr=False)

    def start(self) -> None:
        """Run ``gossipfl peer run`` on the directory; its output goes to ``log`` there.

        Raises
        ------
        HomeError
            If the directory cannot be written.
        """
        with named_errors(f"no peer can be started in {self.home.directory}"):
            self._log.touch(mode=0o600)
            command = ["peer", "run", "--plain", "--until-stdin-ends", "--home", str(self.home.directory)]
            self._process = WarmProcess(command, log=self._log)

    @property
    def _log(self) -> Path:
        return self.home.directory / "log"

    @property
    def is_up(self) -> bool:
        """Whether the process is running."""
        return self._process is not None and self._process.is_up

    def kill(self) -> None:
        """End the process with SIGKILL, as a power cut would."""
        if self._process is not None:
            self._process.kill()
        self.killed = True

    def restart(self) -> None:
        """Start the peer again on the same directory."""
        self.start()
        self.killed = False
        self.restarts += 1

    def ask_to_stop(self) -> None:
        """Send SIGTERM."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)

    def wait(self) -> None:
        """Wait until the process has ended; kill it if it does not end on its own."""
        if self._process is not None and not self._process.wait(_STOP_SECONDS):
            self._process.kill()

    def require_up(self) -> None:
        """Require that the process has not ended on its own.

        Raises
        ------
        DemoFailed
            With the last lines of its log.
        """
        if not self.killed and not self.is_up:
            lines = self._log.read_text(errors="replace").splitlines()
            raise DemoFailed(f"peer {self.index} ended by itself", got=" / ".join(lines[-3:]) or "no output")

    def status(self) -> dict[str, Any] | None:
        """The peer's last status report since its current start; None before the first."""
        try:
            status = read_status(self.home.status)
        except HomeError:
            return None
        ours = self._process is not None and status["process"] == self._process.pid
        return status if ours or self.killed else None


def prepare_peers(plan: DemoPlan) -> list[PeerProcess]:
    """Make the peers' homes; no process is started.

    Raises
    ------
    SettingError, HomeError, TaskError
        If the plan's settings are wrong.
    """
    homes = [plan.home(index) for index in range(plan.peers)]
    for home in homes:
        with named_errors(f"cannot make the directory {home.directory}", remedy="Choose another --out."):
            home.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    known = [_free_address() for _ in homes[:2]]
    identities = [load_or_create_identity(home.directory).peer_id for home in homes[:2]]
    bootstrap = [f"{address}/p2p/{peer_id}" for address, peer_id in zip(known, identities, strict=True)]
    processes = []
    for index, home in enumerate(homes):
        listen = known[index] if index < len(known) else "/ip4/127.0.0.1/tcp/0"
        home.create(plan.settings(index, bootstrap=bootstrap, listen=listen))
        processes.append(PeerProcess(index, home))
    return processes


def _free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"/ip4/127.0.0.1/tcp/{probe.getsockname()[1]}"
