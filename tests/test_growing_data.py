"""Data that grow while a peer runs: trained on, recorded, and replayed as each step saw them."""

from __future__ import annotations

import dataclasses
import functools
import logging
from pathlib import Path

import pytest
import trio

from gossipfl.errors import InvalidTask
from gossipfl.peer import Home, Peer
from gossipfl.peer.renewal import require_renewable
from gossipfl.tasks import Dataset, Task
from sims.errors import NotSimulable
from sims.replay import replay
from sims.replay.errors import OtherTask
from tests.gossipfl.network.helpers import in_trio, until
from tests.integration.peers import quick_settings, records_of, running
from tests.integration.tasks import blobs


def _read(file, index):
    """As many samples as the file says there are now."""
    whole = blobs(index=index).data()
    count = int(Path(file).read_text())
    return dataclasses.replace(
        whole, train_inputs=whole.train_inputs[:count], train_targets=whole.train_targets[:count]
    )


def growing(*, file: str, index: int = 0) -> Task:
    return dataclasses.replace(
        blobs(index=index), data=functools.partial(_read, file, index), refresh_seconds=0.05
    )


def reread(*, file: str) -> Task:
    """Data that are read again only when that is asked for."""
    return dataclasses.replace(growing(file=file), refresh_seconds=None)


@in_trio
async def _run(home, file):
    settings = quick_settings(
        task={"name": "tests.test_growing_data:growing", "options": {"file": str(file)}},
        exchange={"patience": 0.01},
        training={"batch_size": 8},
    )
    peer = Peer(home, settings=settings)
    async with running(peer):
        await until(lambda: peer.status().step >= 5)
        file.write_text("50")
        await until(lambda: records_of(peer.home, "data"))
        step = peer.status().step
        await until(lambda: peer.status().step >= step + 5)
        file.write_text("gone")  # cannot be read: the peer goes on with what it has
        await trio.sleep(0.2)
        step = peer.status().step
        await until(lambda: peer.status().step >= step + 5)
    file.write_text("60")  # more came after the peer had ended


def test_a_peer_trains_on_what_came_and_is_replayed(tmp_path):
    file = tmp_path / "count"
    file.write_text("20")
    home = tmp_path / "alice"
    _run(home, file)
    (start,), (grown,) = records_of(Home(home), "start"), records_of(Home(home), "data")
    assert (start["samples"], grown["samples"]) == (20, 50)
    assert start["data"] != grown["data"]
    report = replay([home])
    assert [peer.verdict for peer in report.peers] == ["identical"]
    with pytest.raises(NotSimulable, match=r"grew while it ran.*20 samples after event 0, 50 samples"):
        replay([home], batched=True)
    file.write_text("30")  # less than it trained on
    with pytest.raises(
        OtherTask, match=r"not those it trained on after event \d+; expected 50 samples.*got 30"
    ):
        replay([home])


def test_a_reload_of_the_settings_reads_the_data_again(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    file = tmp_path / "count"
    file.write_text("20")
    settings = quick_settings(
        task={"name": "tests.test_growing_data:reread", "options": {"file": str(file)}},
        exchange={"patience": 0.01},
    )
    peer = Peer(tmp_path / "alice", settings=settings)

    @in_trio
    async def run():
        async with running(peer):
            peer.reload(settings)
            await until(lambda: "the data are as before: 20 samples" in caplog.messages)
            file.write_text("50")
            peer.reload(settings)
            await until(lambda: records_of(peer.home, "data"))
            file.write_text("gone")
            peer.reload(settings)
            await until(lambda: any("could not be reloaded" in each for each in caplog.messages))
            step = peer.status().step
            await until(lambda: peer.status().step >= step + 5)

    run()
    file.write_text("50")
    assert [peer.verdict for peer in replay([peer.home.directory]).peers] == ["identical"]


def test_a_fingerprint_is_of_the_first_samples():
    data = blobs().data()
    assert data.fingerprint(30) == data.first(30).fingerprint()
    assert data.fingerprint(30) != data.fingerprint(31)
    inputs = data.train_inputs.clone()
    inputs[3, 2] += 1e-3
    assert dataclasses.replace(data, train_inputs=inputs).fingerprint() != data.fingerprint()
    transposed = Dataset(
        train_inputs=data.train_inputs.T.contiguous().T, train_targets=data.train_targets,
        test_inputs=data.test_inputs, test_targets=data.test_targets,
    )  # fmt: skip
    assert transposed.fingerprint() == data.fingerprint()


def test_periods_that_cannot_be_and_rounds_are_refused():
    for period in (0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InvalidTask, match="positive, finite number of seconds"):
            dataclasses.replace(blobs(), refresh_seconds=period)
    with pytest.raises(InvalidTask, match="grow, but this peer learns in rounds"):
        require_renewable(dataclasses.replace(blobs(), refresh_seconds=1.0), in_rounds=True)
    require_renewable(blobs(), in_rounds=True)
