"""Settings of a peer's page and of its interface for programs, over HTTP."""

from __future__ import annotations

import ipaddress
import re
from contextlib import suppress

from pydantic import Field, field_validator

from gossipfl.settings.table import Table

__all__ = ["PageSettings", "endpoint_of"]


class PageSettings(Table):
    """Whether a peer serves its live page, metrics and predictions over HTTP; others may read its metrics."""

    enabled: bool = False
    """whether to serve them at http://127.0.0.1 (needs gossipfl[page])"""
    port: int = Field(0, ge=0, le=65535)
    """TCP port of the page; 0 takes a free one, which `gossipfl peer page` prints"""
    metrics_at: str | None = None
    """IP address and port, such as 0.0.0.0:9465, where other machines may read /metrics and /healthz, and nothing
    else; nowhere if not set"""

    @field_validator("metrics_at")
    @classmethod
    def _is_endpoint(cls, text: str | None) -> str | None:
        if text is not None:
            endpoint_of(text)
        return text


def endpoint_of(text: str) -> tuple[str, int]:
    """Return the IP address and the port in a text such as ``0.0.0.0:9465`` or ``[::]:9465``.

    Raises
    ------
    ValueError
        It is none.
    """
    match = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):([0-9]{1,5})", text)
    with suppress(ValueError):
        if match is not None and int(match[3]) < 1 << 16:
            host = ipaddress.IPv6Address(match[1]) if match[1] else ipaddress.IPv4Address(match[2])
            return str(host), int(match[3])
    message = f"{text[:80]!r} is no IP address and port, such as 0.0.0.0:9465 or [::]:9465"
    raise ValueError(message)
