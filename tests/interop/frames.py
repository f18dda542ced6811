"""Rows of which each number is another, and handlers that answer with them."""

import torch

from gossipfl.wire import encode_model
from tests.gossipfl.network.helpers import FLOAT32, LAYOUT, TASK


def row_of(size):
    return torch.arange(size, dtype=torch.float32)


def row_frame(size, *, sequence, wants_answer=False):
    return encode_model(
        row_of(size),
        codec=FLOAT32,
        task=TASK,
        layout=LAYOUT,
        age=9,
        incarnation=1,
        sequence=sequence,
        event=1,
        wants_answer=wants_answer,
    )


def answer_with_row(size):
    async def answer(peer_id, message):
        return row_frame(size, sequence=message.header.sequence)

    return answer
