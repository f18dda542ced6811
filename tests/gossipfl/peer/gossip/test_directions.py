"""Models that go in the directions for which a peer's link has room."""

from contextlib import ExitStack, contextmanager

import pytest

from tests.gossipfl.network.helpers import in_trio, until
from tests.integration.peers import network_of, record_lines

TABLES = {
    "options": {"hidden": 5_000},  # rows of 400 kB
    "exchange": {"period": 0.05, "patience": 0.1},
    "gate": {"enabled": False},
}


@contextmanager
def taken_up(lane, monkeypatch):
    """Have rows under way that need for ever."""
    with monkeypatch.context() as patch, ExitStack() as stack:
        patch.setattr(lane, "_has_room", lambda: False)
        for _ in range(3):
            stack.enter_context(lane.expecting(10**15, is_valued=True)).begin()
        yield


def merges(peer):
    return [each for each in record_lines(peer.home) if each["kind"] == "merge"]


def exchanges(peer):
    """Exchanges that a peer has begun: whether each sent a model, and whether one answered."""
    return [
        (each["codec"] is not None, each["answer_event"] is not None)
        for each in record_lines(peer.home)
        if each["kind"] == "exchange" and each["outcome"] == "ok"
    ]


def evaluations(peer):
    return sum(each["kind"] == "evaluation" for each in record_lines(peer.home))


async def in_time(condition):
    await until(condition, seconds=30)


async def until_settled(*peers):
    """Wait until whatever was under way before is over: some exchanges or refusals later."""
    before = [len(record_lines(each.home)) for each in peers]
    await in_time(
        lambda: all(len(record_lines(each.home)) > n + 20 for each, n in zip(peers, before, strict=True))
    )


@pytest.mark.parametrize("taken", ["upload", "download"])
@in_trio
async def test_while_one_direction_is_taken_up_models_go_in_the_other(tmp_path, monkeypatch, taken):
    async with network_of(tmp_path, 2, **TABLES) as [busy, free]:
        link = busy._incarnation.host.link
        await in_time(lambda: len(exchanges(busy)) > 3 and len(exchanges(free)) > 3)
        with taken_up(getattr(link, taken), monkeypatch):
            await until_settled(busy)
            here, there = len(merges(busy)), len(merges(free))
            own, others = len(exchanges(busy)), len(exchanges(free))
            receiver, before = (busy, here) if taken == "upload" else (free, there)
            await in_time(lambda: len(merges(receiver)) > before + 10 and len(exchanges(busy)) > own + 3)
            begun = set(exchanges(busy)[own:])
            answered = set(exchanges(free)[others:])
            silent = free if taken == "upload" else busy
            assert len(merges(silent)) <= (there if taken == "upload" else here) + 1
        assert begun == ({(False, True)} if taken == "upload" else {(True, False)})
        assert answered == ({(True, False)} if taken == "upload" else set())
        await in_time(lambda: (True, True) in exchanges(busy)[own + len(begun) :])


@in_trio
async def test_while_both_are_taken_up_no_models_go(tmp_path, monkeypatch):
    async with network_of(tmp_path, 2, **TABLES) as [busy, free]:
        link = busy._incarnation.host.link
        await in_time(lambda: len(exchanges(busy)) > 3 and len(exchanges(free)) > 3)
        with taken_up(link.upload, monkeypatch), taken_up(link.download, monkeypatch):
            await in_time(lambda: busy.counters.refused["peer_busy"])
            looked = evaluations(busy)
            await in_time(lambda: evaluations(busy) > looked + 3)  # until what had begun is over
            exchanged, merged, looked = len(exchanges(busy)), len(merges(free)), evaluations(busy)
            await in_time(lambda: evaluations(busy) > looked + 3)
            assert len(exchanges(busy)) == exchanged
            assert len(merges(free)) == merged
