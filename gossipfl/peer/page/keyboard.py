"""The paths of a page to type on: suggestions, what is typed, what has left the device, and forgetting.

What tells anything of what was typed is a POST, and so needs the token of the home.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict
from typing import Any

import trio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gossipfl.errors import InvalidRequest
from gossipfl.keyboard.forgetting import everything, of_day, with_word
from gossipfl.keyboard.saying import without_words
from gossipfl.keyboard.store import Typed
from gossipfl.peer.device_loop import DeviceLoop
from gossipfl.peer.page.app import read_json, route_of_file
from gossipfl.peer.typing import Typing

__all__ = ["keyboard_routes"]

_MOST_SHOWN = 200


def keyboard_routes(typing: Typing, device_loop: DeviceLoop) -> list[Route]:
    """Return the routes of the page to type on."""

    async def suggest(request: Request) -> Response:
        values = await _read(request, {"text"})
        if not isinstance(values["text"], str):
            raise InvalidRequest(
                "the text before the cursor is no text",
                expected="a string",
                got=without_words(values["text"]),
            )
        return JSONResponse(await typing.suggest(values["text"]))

    async def typed(request: Request) -> Response:
        values = await _read(request, {"message", "text"})
        await typing.write(values["message"], values["text"])
        return JSONResponse({"stored": True})

    async def forget(request: Request) -> Response:
        return JSONResponse({"forgotten": await typing.forget(_chosen(await read_json(request)))})

    async def overview(request: Request) -> Response:
        await _read(request, set())
        today = await trio.to_thread.run_sync(typing.keyboard.today)
        permission = typing.permissions.current
        shown = {
            "today": asdict(today),
            **device_loop.to_values(latest=_MOST_SHOWN),
            "trains": permission.trains,
            "merges": permission.merges,
            "waits": typing.waits,
            **typing.to_values(),
        }
        return JSONResponse(shown)

    answers = {"suggest": suggest, "typed": typed, "forget": forget, "overview": overview}
    return [
        route_of_file("/keyboard", "keyboard.html"),
        route_of_file("/keyboard.js", "keyboard.js"),
        route_of_file("/keyboard.css", "keyboard.css"),
        *(Route(f"/api/keyboard/{name}", answer, methods=["POST"]) for name, answer in answers.items()),
    ]


async def _read(request: Request, keys: set[str]) -> dict[str, Any]:
    values = await read_json(request)
    if set(values) != keys:
        raise InvalidRequest(
            "the request has the wrong keys", expected=_named(keys, keys), got=_named(values, keys)
        )
    return values


def _named(given: Iterable[str], known: Collection[str]) -> str:
    """Name keys; those that are not known are counted, as they may be words that were typed."""
    named = sorted(set(given) & set(known))
    others = len(set(given)) - len(named)
    if others:
        named.append(f"{others} other{'' if others == 1 else 's'}")
    return ", ".join(named) or "no keys"


def _chosen(values: dict[str, Any]) -> Callable[[Typed], bool]:
    if set(values) == {"word"}:
        return with_word(values["word"])
    if set(values) == {"day"}:
        return of_day(values["day"])
    if values == {"everything": True}:
        return everything
    raise InvalidRequest(
        "it is not clear what to forget",
        expected="{'word': …}, {'day': 'YYYY-MM-DD'} or {'everything': true}",
        got=_named(values, ("word", "day", "everything"))
        + (f" ({without_words(values['everything'])})" if set(values) == {"everything"} else ""),
    )
