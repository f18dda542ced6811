"""libp2p, imported in one place and without its side effects.

Importing the library forbids its logger to propagate and gives it no handler, so that its warnings come out
as bare lines on stderr; and some of its modules log to the root logger, which installs a handler there.
"""

from __future__ import annotations

import logging

_root_handlers = list(logging.getLogger().handlers)

from libp2p.abc import IRawConnection, ISecureConn  # noqa: E402
from libp2p.crypto.ed25519 import Ed25519PrivateKey  # noqa: E402
from libp2p.crypto.keys import KeyPair, PrivateKey  # noqa: E402
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair  # noqa: E402
from libp2p.custom_types import TProtocol  # noqa: E402
from libp2p.network.connection.raw_connection import RawConnection  # noqa: E402
from libp2p.peer.id import ID  # noqa: E402
from libp2p.protocol_muxer.generic_selector import GenericMultistreamSelector  # noqa: E402
from libp2p.protocol_muxer.multiselect import Multiselect  # noqa: E402
from libp2p.protocol_muxer.multiselect_client import MultiselectClient  # noqa: E402
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator  # noqa: E402
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE  # noqa: E402
from libp2p.security.noise.transport import Transport as NoiseTransport  # noqa: E402
from libp2p.security.security_multistream import SecurityMultistream  # noqa: E402
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX  # noqa: E402
from noise.state import CipherState  # type: ignore[import-untyped]  # noqa: E402

__all__ = [
    "ID",
    "NOISE",
    "YAMUX",
    "CipherState",
    "Ed25519PrivateKey",
    "GenericMultistreamSelector",
    "IRawConnection",
    "ISecureConn",
    "KeyPair",
    "Multiselect",
    "MultiselectClient",
    "MultiselectCommunicator",
    "NoiseTransport",
    "PrivateKey",
    "RawConnection",
    "SecurityMultistream",
    "TProtocol",
    "create_noise_key_pair",
    "quiet_library_logging",
]


def quiet_library_logging(handler: logging.Handler | None = None) -> None:
    """Send what libp2p logs to `handler`, or nowhere, and nothing of it to stderr.

    Parameters
    ----------
    handler : logging.Handler, optional
        Receives the library's warnings and errors.
    """
    logger = logging.getLogger("libp2p")
    for each in list(logger.handlers):
        logger.removeHandler(each)
    logger.addHandler(handler or logging.NullHandler())
    logger.propagate = False


for _handler in list(logging.getLogger().handlers):
    if _handler not in _root_handlers:
        logging.getLogger().removeHandler(_handler)
quiet_library_logging()
