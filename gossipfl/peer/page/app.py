"""The paths of a peer's page and of its interface for programs."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from gossipfl.errors import (
    GossipflError,
    InvalidRequest,
    MethodNotAllowed,
    PathUnknown,
    RequestTooLarge,
)
from gossipfl.peer.page.activity import Activity
from gossipfl.peer.page.guard import refusal
from gossipfl.peer.page.metrics import CONTENT_TYPE, Metrics
from gossipfl.peer.page.predicting import Predictor
from topology.parsing import json_of

__all__ = [
    "STATIC",
    "Subject",
    "application",
    "read_json",
    "route_of_file",
    "routes_of_files",
    "with_named_errors",
]

STATIC: Final = Path(__file__).with_name("static")
_TYPES: Final = {
    "peer.html": "text/html; charset=utf-8",
    "demo.html": "text/html; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "keyboard.html": "text/html; charset=utf-8",
    "keyboard.js": "text/javascript; charset=utf-8",
    "keyboard.css": "text/css; charset=utf-8",
}
_BODY_BYTES: Final = 1 << 20
_BAD: Final = 503


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a page shows of a peer, and how it is steered.

    Parameters
    ----------
    status, health : callable
        Return plain values.
    pause, resume, leave : callable
        Leave a request in the home.
    further : sequence of Route
        Of what else the peer serves.
    """

    status: Callable[[], dict[str, Any]]
    health: Callable[[], dict[str, Any]]
    activity: Activity
    metrics: Metrics
    predictor: Predictor
    steer: Mapping[str, Callable[[], Awaitable[None]]]
    further: Sequence[Route] = ()


def application(subject: Subject) -> Starlette:
    """Return the application of one peer."""

    async def status(_: Request) -> Response:
        return JSONResponse(subject.status())

    async def peers(_: Request) -> Response:
        return JSONResponse(subject.status()["peers"])

    async def view(request: Request) -> Response:
        after, since = _number(request, "after"), _number(request, "since")
        shown = {
            "status": subject.status(),
            "health": subject.health(),
            "events": subject.activity.events_after(int(after)),
            "history": subject.activity.history_after(since),
        }
        return JSONResponse(shown)

    async def predict(request: Request) -> Response:
        began = time.perf_counter()
        values = await read_json(request)
        if set(values) != {"inputs"}:
            raise InvalidRequest(
                "the request has the wrong keys",
                expected="{'inputs': [[…], …]}",
                got=[key[:40] for key in sorted(values)[:8]],
            )
        answer = await subject.predictor.predict(values["inputs"])
        subject.metrics.predictions.observe(time.perf_counter() - began)
        return JSONResponse(answer)

    async def steer(request: Request) -> Response:
        wish = request.path_params["wish"]
        if wish not in subject.steer:
            raise PathUnknown("there is no such path", got=repr(request.url.path[:80]))
        await subject.steer[wish]()
        return JSONResponse({"requested": wish}, status_code=202)

    reading = {"/api/status": status, "/api/peers": peers, "/api/view": view}
    return with_named_errors(
        [
            *routes_of_files("peer.html"),
            *_routes_of_metrics(subject, subject.health),
            *(Route(path, endpoint) for path, endpoint in reading.items()),
            *subject.further,
            Route("/predict", predict, methods=["POST"]),
            Route("/api/{wish}", steer, methods=["POST"]),
        ]
    )


def metrics_application(subject: Subject) -> Starlette:
    """Return the application that other machines may read: metrics and health alone, which name nobody else."""

    def health() -> dict[str, Any]:
        told = subject.health()
        problems = [each["name"] for each in told["problems"]]
        return {**told, "waiting": told["waiting"] is not None, "problems": problems}

    return with_named_errors(_routes_of_metrics(subject, health))


def _routes_of_metrics(subject: Subject, told: Callable[[], dict[str, Any]]) -> list[Route]:
    async def healthz(_: Request) -> Response:
        health = told()
        return JSONResponse(health, status_code=200 if health["healthy"] else _BAD)

    async def metrics(_: Request) -> Response:
        return Response(subject.metrics.text(), media_type=CONTENT_TYPE)

    return [Route("/healthz", healthz), Route("/metrics", metrics)]


def routes_of_files(page: str) -> list[Route]:
    """Return the routes of a page's files, which are all there are to be read of the disk."""
    files = (route_of_file(f"/{name}", name) for name in ("page.js", "page.css", "icon.svg"))
    return [route_of_file("/", page), *files]


def route_of_file(path: str, name: str) -> Route:
    """Return the route of a file of a page."""

    async def file(_: Request) -> Response:
        return FileResponse(STATIC / name, media_type=_TYPES[name])

    return Route(path, file)


def with_named_errors(routes: list[Route]) -> Starlette:
    """Return an application of these routes, whose errors are JSON."""

    async def named(_: Request, error: Exception) -> Response:
        assert isinstance(error, GossipflError)  # noqa: S101 - it is registered for these
        return refusal(error)

    async def unrouted(request: Request, error: Exception) -> Response:
        code = error.status_code if isinstance(error, HTTPException) else 400
        path = repr(request.url.path[:80])
        if code == MethodNotAllowed.status:
            method = request.method[:16]
            return refusal(MethodNotAllowed(f"{path} is not served by {method}", got=method))
        if code == PathUnknown.status:
            return refusal(PathUnknown("there is no such path", got=path))
        return refusal(InvalidRequest("the request cannot be understood"))

    return Starlette(
        routes=routes,
        exception_handlers={GossipflError: named, HTTPException: unrouted},
    )


async def read_json(request: Request) -> dict[str, Any]:
    """Return the body of a request, an object of JSON.

    Raises
    ------
    RequestTooLarge, InvalidRequest
    """
    kind = request.headers.get("content-type", "")
    if kind.partition(";")[0].strip() != "application/json":
        raise InvalidRequest(
            "the body has the wrong type",
            expected="Content-Type: application/json",
            got=repr(kind[:80]) if kind else "no such header",
        )
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _BODY_BYTES:
            raise RequestTooLarge(
                "the body is too large",
                expected=f"at most {_BODY_BYTES} bytes",
                got=f"{len(body)} bytes so far",
            )
    try:
        values = json_of(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("the body is no JSON", got=str(error)[:80]) from error
    if not isinstance(values, dict):
        raise InvalidRequest("the body is no object", expected="an object", got=type(values).__name__)
    return values


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _number(request: Request, name: str) -> float:
    text = request.query_params.get(name, "0")
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e15:
        raise InvalidRequest(f"{name} is no number", expected="0 or more", got=repr(text[:40]))
    return value
