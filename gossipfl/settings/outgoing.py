"""Settings of the transformations of a row before it leaves a node: the tables ``[[outgoing]]``, in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from gossipfl.settings.codec_names import KnownCodec
from gossipfl.settings.table import Table

__all__ = [
    "ClipSettings",
    "CodecSettings",
    "MaskSettings",
    "NoiseSettings",
    "OutgoingSettings",
    "codec_name_in",
    "require_order",
]


class ClipSettings(Table):
    """Rows are shortened to a largest Euclidean norm."""

    kind: Literal["clip"] = "clip"
    norm: float = Field(gt=0)
    """largest Euclidean norm of a row"""


class NoiseSettings(Table):
    """Gaussian noise is added to every number."""

    kind: Literal["noise"] = "noise"
    deviation: float = Field(gt=0)
    """standard deviation of the noise on each number"""
    recorded: bool = False
    """whether peers record their noise: a replay needs it, and whoever reads the records can then remove the
    noise; simulations draw from their seed"""
    epsilon: float | None = Field(None, gt=0)
    """ε of the privacy budget of a peer: it sends nothing more once its rows have spent it; no limit if unset"""
    delta: float = Field(1e-5, gt=0, lt=1)
    """δ of that budget"""


class MaskSettings(Table):
    """Send only a random share of the numbers: the same ones at all nodes in an exchange of a round."""

    kind: Literal["mask"] = "mask"
    share: float = Field(gt=0, le=1)
    """share of a row's numbers, at least one number"""


class CodecSettings(Table):
    """Rows are compressed or quantised; the long form of ``codec``, and the last table."""

    kind: Literal["codec"] = "codec"
    name: KnownCodec
    """e.g. bfloat16, int8, qsgd:16:128 or top:0.01"""


OutgoingSettings = Annotated[
    ClipSettings | NoiseSettings | MaskSettings | CodecSettings, Field(discriminator="kind")
]


def codec_name_in(outgoing: Sequence[OutgoingSettings]) -> str | None:
    """Name of the codec among the tables, if there is one."""
    return next((each.name for each in outgoing if isinstance(each, CodecSettings)), None)


def require_order(outgoing: Sequence[OutgoingSettings], *, codec: str | None) -> None:
    """Require at most one mask, and at most one codec, which comes last.

    Parameters
    ----------
    outgoing : sequence of OutgoingSettings
    codec : str, optional
        The short form, if it is set.

    Raises
    ------
    ValueError
    """
    kinds = [each.kind for each in outgoing]
    budgets = [
        place for place, each in enumerate(outgoing) if isinstance(each, NoiseSettings) and each.epsilon
    ]
    if len(budgets) > 1:
        raise ValueError("outgoing sets epsilon for more than one noise: leave out all but one")
    if budgets and "clip" not in kinds[: budgets[0]]:
        raise ValueError(
            "outgoing sets epsilon for a noise without a clip before it: rows of any length have no budget"
        )
    for kind in ("mask", "codec"):
        if kinds.count(kind) > 1:
            raise ValueError(f"outgoing has more than one {kind}: leave out all but one")
    if "codec" in kinds[:-1]:
        raise ValueError(
            "outgoing has a table after its codec, which must be the last: what it writes are bytes"
        )
    if "codec" in kinds and codec is not None:
        raise ValueError(
            f"the codec is given twice, as codec = {codec!r} and in outgoing: leave out one of them"
        )
