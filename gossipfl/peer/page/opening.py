"""The page of one start of a peer: its address, and the task that serves it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from gossipfl.peer.control import request_leave, request_pause
from gossipfl.peer.page.health import health_of, patience_before_stalled
from gossipfl.peer.page.libraries import require_libraries
from gossipfl.peer.page.token import load_or_create_token
from gossipfl.settings.page import endpoint_of

if TYPE_CHECKING:
    from gossipfl.peer.incarnation import Incarnation

__all__ = ["Page", "open_page"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page that listens already.

    Parameters
    ----------
    address : str
        URL without the token.
    run : callable
        Serves it until cancelled.
    """

    address: str
    run: Callable[[], Awaitable[None]]


async def open_page(peer: Incarnation) -> Page:
    """Listen for requests to a peer's page.

    Raises
    ------
    SettingError
        A library is not installed, or the port cannot be listened at.
    HomeError
        The token cannot be read or written.
    """
    require_libraries()
    from gossipfl.peer.page.app import Subject, application, metrics_application
    from gossipfl.peer.page.guard import Guard
    from gossipfl.peer.page.keyboard import keyboard_routes
    from gossipfl.peer.page.metrics import Metrics
    from gossipfl.peer.page.predicting import Predictor
    from gossipfl.peer.page.serving import listen, serve
    from gossipfl.peer.page.shares import Shares

    token = await trio.to_thread.run_sync(load_or_create_token, peer.home.page_token)
    listener, port = await listen(peer.settings.page.port)
    metrics_at = peer.settings.page.metrics_at
    for_others = None
    if metrics_at is not None:
        host, chosen = endpoint_of(metrics_at)
        for_others, chosen = await listen(chosen, host=host, setting="page.metrics_at")
        logger.info("metrics and health can be read at %s port %d, from other machines too", host, chosen)

    def status() -> dict[str, Any]:
        return peer.status().to_dict()

    def health() -> dict[str, Any]:
        return health_of(
            peer.conditions.to_values(),
            seconds_since_change=peer.activity.seconds_since_change,
            patience=patience_before_stalled(peer.settings),
        )

    metrics = Metrics(status, peer.activity, is_healthy=lambda: bool(health()["healthy"]))
    subject = Subject(
        status=status,
        health=health,
        activity=peer.activity,
        metrics=metrics,
        predictor=Predictor(peer.task, peer.data, peer.learner, tuned=lambda: peer.housekeeping.fine_tuning),
        steer=_steering(peer),
        further=()
        if peer.typing is None or peer.device_loop is None
        else keyboard_routes(peer.typing, peer.device_loop),
    )

    def count(code: int) -> None:
        metrics.requests.labels(str(code)).inc()

    guarded = Guard(application(subject), port=port, token=token, count=count)
    shares = Shares()
    readable = Guard(metrics_application(subject), port=None, token=token, count=count, shares=shares)

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.activity.sample_for_ever, peer.status)
            nursery.start_soon(serve, guarded, listener)
            if for_others is not None:
                nursery.start_soon(partial(serve, readable, for_others, shares=shares))

    address = f"http://127.0.0.1:{port}/"
    logger.info("the page is at %s (gossipfl peer page --home %s)", address, peer.home.directory)
    return Page(address=address, run=run)


def _steering(peer: Incarnation) -> dict[str, Callable[[], Awaitable[None]]]:
    path = peer.home.requests
    wishes: dict[str, Callable[[], None]] = {
        "pause": partial(request_pause, path, paused=True),
        "resume": partial(request_pause, path, paused=False),
        "leave": partial(request_leave, path, incarnation=peer.number),
    }
    return {name: partial(trio.to_thread.run_sync, wish) for name, wish in wishes.items()}
