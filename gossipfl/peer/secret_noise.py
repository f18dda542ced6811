"""Noise from a fresh secret for each exchange or message, drawn from the operating system's generator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from secrets import token_bytes
from typing import Any

from gossipfl.codecs.draws import normals
from gossipfl.outgoing import Pipeline, secret_normals
from gossipfl.outgoing.noise import SECRET_BYTES
from gossipfl.outgoing.transformation import Normals

__all__ = ["new_normals"]


def new_normals(
    outgoing: Pipeline, record: Callable[[Mapping[str, Any]], None], named: Mapping[str, int]
) -> Normals:
    """Draw a secret and, before anything is sent, record it if all noise of the pipeline is to be recorded.

    Parameters
    ----------
    record : callable
        Appends a record.
    named : mapping of str to int
        Purpose of the secret: ``round`` and ``exchange``, or ``sequence``.
    """
    noise = outgoing.noise
    if not noise:
        return normals
    secret = token_bytes(SECRET_BYTES)
    if all(each.recorded for each in noise):
        record({"kind": "noise", **named, "secret": secret.hex()})
    return secret_normals(secret)
