"""Hostile peers that are dialled: what they answer, or do not."""

import pytest

from gossipfl.errors import MalformedFrame
from gossipfl.wire import News, Progress, View, encode

from .helpers import TASK, in_trio, model_frame, serving_host, until


@pytest.mark.parametrize("kind", ["view", "news", "progress"])
@in_trio
async def test_an_answer_to_another_question_is_refused(kind):
    """Without this, a model that nobody took would count as exchanged."""
    answers = {
        "view": encode(View(task=TASK, peers=())),
        "news": encode(News(known=bytes(32), statements=())),
        "progress": encode(
            Progress(task=TASK, agreement=bytes(32), incarnation=1, round=0, exchange=0, kept=True)
        ),
    }

    async def answer(peer_id, message):
        return answers[kind]

    async with serving_host(answer) as liar, serving_host() as host:
        with pytest.raises(MalformedFrame, match=f"out of place.*got {kind}"):
            await host.exchange(liar.peer_id, liar.addresses, model_frame())
        assert host.counters.refused["malformed_frame"] == 1
        await until(lambda: liar.peer_id not in host.connected())
