"""Masked sums in rounds: the numbers they hold, where they are possible, and what a member makes of one."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gossipfl.codecs import FLOAT32, PayloadTensor, TensorSpec, payload_of, require_admitted, tensor_of
from gossipfl.errors import SettingError, UnexpectedTensor
from gossipfl.outgoing import Pipeline
from gossipfl.rounds.message_shapes import ExchangeForm
from gossipfl.rounds.mixing import Mixing
from gossipfl.rounds.weights import listening_weights, weights_without
from gossipfl.secure import FixedPoint, RingRow, threshold_of

__all__ = ["RING_ROWS", "RingRows", "require_summable", "sum_mixed", "summand"]

_ROUNDS_CHECKED = 8


@dataclass(frozen=True, slots=True)
class RingRows:
    """Rows of a fixed-point ring as they are, 4 bytes a number: ``row``, int32, masked or not."""

    name: str = "ring32"

    def encode(self, row: Tensor, *, key: int = 0) -> tuple[PayloadTensor, ...]:
        """Write a row, int32 of shape [K]."""
        del key
        if row.dtype != torch.int32 or row.dim() != 1:
            raise UnexpectedTensor(
                "only ring elements can be written",
                expected="int32 [K]",
                got=f"{row.dtype} {list(row.shape)}",
            )
        return (payload_of("row", row),)

    def expected(self, size: int) -> tuple[TensorSpec, ...]:
        """Describe the tensors of a valid payload for a row of ``size`` numbers."""
        return (TensorSpec("row", "int32-le", (size,)),)

    def decode(self, tensors: Sequence[PayloadTensor], size: int) -> Tensor:
        """Read a row, int32 of shape [size], as a view of the payload."""
        require_admitted([tensor.header for tensor in tensors], self.expected(size))
        return tensor_of(tensors[0])


RING_ROWS = RingRows()


def require_summable(
    name: str,
    mixing: Mixing,
    forms: Sequence[ExchangeForm],
    outgoing: Pipeline,
    *,
    members: int,
    pushes: bool,
) -> None:
    """Refuse by name what masked sums cannot serve.

    Raises
    ------
    SettingError
        The algorithm needs more than a weighted sum, a codec would compress masked rows, or the weights in a
        row of the mixing matrix are negative or exceed 1.
    SummandsExposed
        A member has fewer than 3 neighbours, in one of the first rounds.
    """
    if pushes or any(form.over not in ("neighbours", "clique") for form in forms):
        raise SettingError(
            f"rounds.masked_sums: {name} needs its neighbours' rows, or sends mass that must not be lost",
            expected="an algorithm that averages rows, such as d_psgd",
        )
    compressed = [each.compressor for each in forms if each.compressor not in (None, FLOAT32)]
    codec = next(iter(compressed), outgoing.codec)
    if codec not in (None, FLOAT32):
        raise SettingError(
            f"rounds.masked_sums: rows are sent as masked integers, and not as {codec.name}",
            expected="no codec",
            remedy="Send fewer numbers with a mask: [[outgoing]] with kind = 'mask'.",
        )
    for round_number in range(min(mixing.sequence.period or _ROUNDS_CHECKED, _ROUNDS_CHECKED)):
        for form in {form.over: form for form in forms}.values():
            for member in range(members):
                weights = mixing.row((round_number, 0), form, member)
                threshold_of(len(mixing.neighbours(round_number, form, member)))
                if any(weight < 0 for weight in weights.values()) or sum(weights.values()) > 1 + 1e-9:
                    raise SettingError(
                        f"rounds.masked_sums: member {member} gives weights that could overflow a sum",
                        expected="none below 0, and a sum of at most 1",
                        got=sorted(weights.values()),
                    )


def summand(ring: FixedPoint, sent: Tensor, *, weight: float) -> RingRow:
    """Encode a row, ``[1, K]``, times its weight at its receiver.

    Raises
    ------
    NumberOutOfRange
        It has a number that the ring does not hold.
    """
    return ring.encode(sent[0].numpy(), weight=weight)


def sum_mixed(
    ring: FixedPoint,
    own: Tensor,
    total: RingRow | None,
    weights: Mapping[int, float],
    *,
    number: int,
    summands: Collection[int],
    listening: bool,
) -> Tensor:
    """Add a member's own row to the sum of its neighbours', in float64, and round to float32.

    Parameters
    ----------
    own : Tensor
        Its own row as others decode it, ``[1, K]``.
    total : ndarray or None
        The sum; None if there is none.
    weights : mapping of int to float
        Its row of the mixing matrix, by number.
    number : int
        Its own.
    summands : collection of int
        Whose rows are in the sum; the weights of the others go to its own row.
    listening : bool
        Whether it takes over the others' rows, so that its own has no weight.

    Returns
    -------
    Tensor
        ``[1, K]``.
    """
    if total is None:
        return own
    missing = [each for each in weights if each != number and each not in summands]
    others = torch.from_numpy(ring.decode(total))
    if listening:
        arrived = listening_weights(weights, own=number, missing=missing)
        scale = next(arrived[each] / weights[each] for each in summands)
        return (others * scale).to(own.dtype)[None]
    kept = weights_without(weights, own=number, missing=missing)[number]
    return (own[0].to(torch.float64) * kept + others).to(own.dtype)[None]
