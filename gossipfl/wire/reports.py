"""Reports: what members say of themselves for estimates of the whole network, signed and of a fixed size.

A report is made for one epoch, and everybody knows its place in the order of that epoch's reports, which a hash
draws from the epoch and the reporter's key. Members keep the first few of that order, which are a random sample.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gossipfl.errors import MalformedStatement

__all__ = ["REPORT_BYTES", "SKETCH_WIDTH", "Report", "order_of", "read_report", "write_report"]

SKETCH_WIDTH: Final = 32
_KEY_BYTES: Final = 32
_SIGNATURE_BYTES: Final = 64
_BODY: Final = struct.Struct(f"<{_KEY_BYTES}sQ{1 + SKETCH_WIDTH}f")
REPORT_BYTES: Final = _BODY.size + _SIGNATURE_BYTES
_PREFIX: Final = b"gossipfl report\n"
#: Beyond it, squares of float32 numbers would overflow.
_LARGEST: Final = 1e18


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One member's report.

    Parameters
    ----------
    key : bytes, length 32
        Its public key.
    epoch : int
    metric : float
        Of its model on its own test samples; NaN if there is none yet.
    sketch : tuple of float
        Of its model.
    """

    key: bytes
    epoch: int
    metric: float
    sketch: tuple[float, ...]


def order_of(task: bytes, key: bytes, epoch: int) -> int:
    """Return a reporter's place in the order of an epoch, uniform from 0 to 2**64 − 1."""
    digest = hashlib.blake2b(key, key=task[:32], salt=epoch.to_bytes(8, "little"), digest_size=8)
    return int.from_bytes(digest.digest(), "little")


def write_report(report: Report, *, task: bytes, sign: Callable[[bytes], bytes]) -> bytes:
    """Return a report in `REPORT_BYTES` bytes, signed with its key for a task's fingerprint."""
    body = _BODY.pack(report.key, report.epoch, report.metric, *report.sketch)
    return body + sign(_PREFIX + task + body)


def read_report(data: bytes, *, task: bytes) -> Report:
    """Return a report whose signature is right.

    Raises
    ------
    MalformedStatement
        It is not one, or not signed by its reporter for this task.
    """
    if len(data) != REPORT_BYTES:
        raise MalformedStatement(
            "a report has the wrong length", expected=f"{REPORT_BYTES} bytes", got=len(data)
        )
    body, signature = data[: _BODY.size], data[_BODY.size :]
    key, epoch, metric, *sketch = _BODY.unpack(body)
    if not all(math.isfinite(each) and abs(each) <= _LARGEST for each in sketch) or math.isinf(metric):
        raise MalformedStatement("a report has numbers that are not finite", expected="finite ones")
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, _PREFIX + task + body)
    except (InvalidSignature, ValueError) as error:
        raise MalformedStatement("a report is not signed by its reporter") from error
    return Report(key=key, epoch=epoch, metric=metric, sketch=tuple(sketch))
