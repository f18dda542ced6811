"""Yamux frame headers, as the specification numbers them.

References
----------
HashiCorp, "Yamux", https://github.com/hashicorp/yamux/blob/master/spec.md
"""

from __future__ import annotations

import struct
from typing import Final

__all__ = [
    "ACK",
    "DATA",
    "FIN",
    "FRAME_HEADER",
    "GO_AWAY",
    "INITIAL_WINDOW",
    "LARGEST_WINDOW",
    "PING",
    "RST",
    "SYN",
    "WINDOW_UPDATE",
    "frame_header",
]

FRAME_HEADER: Final = struct.Struct("!BBHII")  # version, type, flags, stream id, length

DATA: Final = 0
WINDOW_UPDATE: Final = 1
PING: Final = 2
GO_AWAY: Final = 3

SYN: Final = 1
ACK: Final = 2
FIN: Final = 4
RST: Final = 8

INITIAL_WINDOW: Final = 256 * 1024
"""Bytes that either side may send on a new stream; fixed by the specification."""

LARGEST_WINDOW: Final = 16 * 1024 * 1024
"""Largest window, in bytes: stock libp2p treats a larger single frame as an attack."""


def frame_header(kind: int, flags: int, stream_id: int, length: int) -> bytes:
    """Return the 12-byte header of a frame.

    Parameters
    ----------
    kind : int
        `DATA`, `WINDOW_UPDATE`, `PING` or `GO_AWAY`.
    flags : int
        Sum of any of `SYN`, `ACK`, `FIN` and `RST`.
    stream_id : int
        Odd for streams opened by the dialler, even for the listener's, 0 for the connection itself.
    length : int
        Payload bytes of a data frame; otherwise the value that the frame carries.
    """
    return FRAME_HEADER.pack(0, kind, flags, stream_id, length)
