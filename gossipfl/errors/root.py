"""Root of all errors."""

from __future__ import annotations

import re

from topology.errors import ExplainedError

__all__ = [
    "GossipflError",
]


class GossipflError(ExplainedError):
    """The root of all errors gossipfl raises on purpose; see `topology.errors.ExplainedError`."""

    @classmethod
    def counter(cls) -> str:
        """Name under which occurrences of this error are counted, e.g. ``message_too_large``."""
        return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", cls.__name__).lower()
