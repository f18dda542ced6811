"""The page of a demo: all peers over HTTP, with buttons to kill and to revive them."""

from __future__ import annotations

import queue
import secrets
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final

import trio

from gossipfl.demo.plan import DemoPlan
from gossipfl.demo.processes import PeerProcess
from gossipfl.demo.watching import Observation
from gossipfl.errors import InvalidRequest
from gossipfl.peer.page.libraries import require_libraries

__all__ = ["DemoPage"]

_START_SECONDS: Final = 30.0
_LEAST_UP: Final = 2
_MOST_WISHES: Final = 64


class DemoPage:
    """Serves a page, in a thread of its own, inside a ``with`` block.

    Raises
    ------
    SettingError
        A library is not installed.
    """

    def __init__(self, plan: DemoPlan) -> None:
        require_libraries()
        self._note = f"{plan.task}, {plan.partition}"
        self._token = secrets.token_urlsafe(32)
        self._shown: dict[str, Any] = {
            "peers": [],
            "phase": "starting the peers",
            "seconds": 0.0,
            "metric": "accuracy",
            "consensus_distance": None,
            "note": self._note,
        }
        self._wishes: queue.SimpleQueue[tuple[int, str]] = queue.SimpleQueue()
        self._is_listening = threading.Event()
        self._scope: trio.CancelScope | None = None
        self._trio: trio.lowlevel.TrioToken | None = None
        self._thread = threading.Thread(target=trio.run, args=(self._run,), daemon=True, name="page")
        self._port = 0
        self.is_finished = False

    def __enter__(self) -> DemoPage:
        self._thread.start()
        if not self._is_listening.wait(_START_SECONDS):
            raise RuntimeError("the page did not come up")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._trio is not None and self._scope is not None:
            self._trio.run_sync_soon(self._scope.cancel)
            self._thread.join()

    @property
    def url(self) -> str:
        """Address of the page, with the token that its buttons need."""
        return f"http://127.0.0.1:{self._port}/#token={self._token}"

    def publish(self, seen: Observation, *, phase: str, metric: str) -> None:
        """Show what was last seen of the peers."""
        up = sum(seen.running)
        self._shown = {
            "peers": [
                {"index": index, "running": runs, "is_fixed": runs and up <= _LEAST_UP, "status": status}
                for index, (runs, status) in enumerate(zip(seen.running, seen.statuses, strict=True))
            ],
            "phase": phase,
            "seconds": seen.seconds,
            "metric": metric,
            "consensus_distance": seen.consensus_distance,
            "note": self._note,
        }

    def grant(self, processes: Sequence[PeerProcess]) -> None:
        """Kill and revive peers as people wished since the last time; two stay up."""
        while not self._wishes.empty():
            index, wish = self._wishes.get()
            process = processes[index]
            if wish == "kill" and process.is_up and sum(each.is_up for each in processes) > _LEAST_UP:
                process.kill()
            elif wish == "revive" and process.killed:
                process.restart()

    async def _run(self) -> None:
        from gossipfl.peer.page.guard import Guard
        from gossipfl.peer.page.serving import listen, serve

        listener, self._port = await listen(0)
        guarded = Guard(self._application(), port=self._port, token=self._token, count=lambda _: None)
        self._trio = trio.lowlevel.current_trio_token()
        with trio.CancelScope() as self._scope:
            self._is_listening.set()
            await serve(guarded, listener)

    def _application(self) -> Any:  # noqa: ANN401 - starlette is imported only here
        from starlette.requests import Request
        from starlette.responses import JSONResponse, Response
        from starlette.routing import Route

        from gossipfl.peer.page.app import routes_of_files, with_named_errors

        async def demo(_: Request) -> Response:
            return JSONResponse(self._shown)

        async def steer(request: Request) -> Response:
            index, wish = request.path_params["index"], request.path_params["wish"]
            peers = self._shown["peers"]
            if index >= len(peers) or wish not in {"kill", "revive"}:
                raise InvalidRequest(
                    "there is no such peer or wish", expected="a peer of the demo, and kill or revive"
                )
            if wish == "kill" and peers[index]["is_fixed"]:
                raise InvalidRequest("two peers must stay up", remedy="Revive another one first.")
            if self._wishes.qsize() >= _MOST_WISHES:
                raise InvalidRequest("too many wishes are waiting", remedy="Wait a moment.")
            self._wishes.put((index, wish))
            return JSONResponse({"requested": wish, "peer": index}, status_code=202)

        async def finish(_: Request) -> Response:
            self.is_finished = True
            return JSONResponse({"requested": "finish"}, status_code=202)

        return with_named_errors(
            [
                *routes_of_files("demo.html"),
                Route("/api/demo", demo),
                Route("/api/peers/{index:int}/{wish}", steer, methods=["POST"]),
                Route("/api/finish", finish, methods=["POST"]),
            ]
        )
