"""A whole peer: it resumes, it names what goes wrong, and it gets on with all kinds of neighbours."""

import dataclasses
import logging
import socket

import numpy as np
import pytest
import torch
import trio
from torch import nn

from gossipfl.errors import HomeError, InvalidTask
from gossipfl.peer import Peer
from gossipfl.peer.assembly import bootstrap_peers, neighbour_generator, network_limits
from gossipfl.peer.gossip.isolation import warn_of_isolation
from gossipfl.peer.store.checkpoint import load_checkpoint
from gossipfl.settings import NetworkSettings
from tests.gossipfl.network.helpers import in_trio, until
from tests.integration.peers import network_of, quick_settings, records_of, running
from tests.integration.tasks import blobs

LONG = {"patience": 1000.0}


def only_error(group):
    """The one error inside nested groups."""
    while isinstance(group, BaseExceptionGroup):
        [group] = group.exceptions
    return group


@in_trio
async def test_a_peer_resumes_where_it_stopped(tmp_path):
    settings = quick_settings(training={"momentum": 0.9}, exchange={"patience": 0.02})
    first = Peer(tmp_path / "alice", settings=settings)
    async with running(first):
        await until(lambda: first.status().step >= 10)
    saved = load_checkpoint(
        first.home.checkpoint, first.task, optimiser_state_size=first.task.layout.trainable_size
    )
    again = Peer(tmp_path / "alice")  # its settings are in its home now
    assert again.settings == first.settings
    async with running(again):
        status = again.status()
        assert status.peer_id == first.status().peer_id
        assert status.incarnation > first.status().incarnation
        assert status.saved_age >= saved.age
        await until(lambda: again.status().step >= saved.nodes.steps[0] + 5)
    start = records_of(again.home, "start")[1]
    assert (start["event"], start["age"], start["step"]) == (
        saved.event,
        saved.age,
        int(saved.nodes.steps[0]),
    )
    assert start["resumed_from"] == first.status().incarnation
    second = again.status().incarnation
    steps = [each["step"] for each in records_of(again.home, "train") if each["incarnation"] == second]
    assert steps == list(range(start["step"] + 1, start["step"] + 1 + len(steps)))  # no batch is drawn twice


@in_trio
async def test_before_it_is_ready_it_says_so(tmp_path):
    peer = Peer(tmp_path / "alice", settings=quick_settings())
    with pytest.raises(HomeError, match=r"Wait for `peer\.ready`"):
        peer.status()
    with pytest.raises(HomeError, match=r"there is no model in .* yet"):
        peer.model()
    peer.stop()  # nothing to stop
    async with running(peer):
        assert peer.status().task == "blobs"


@in_trio
async def test_the_model_is_a_copy_of_ones_own(tmp_path):
    peer = Peer(tmp_path / "alice", settings=quick_settings(exchange=LONG))
    async with running(peer):
        model = peer.model()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
        assert peer.model()[0].weight.abs().sum() > 0


@in_trio
async def test_a_peer_that_restarts_elsewhere_is_found_again(tmp_path):
    async with network_of(tmp_path, 2, exchange=LONG) as [hub, other]:
        await until(lambda: hub.status().event >= 3)
        other.stop()
        await until(lambda: not other.home.is_running())
        other.home.ports.unlink()  # so that port 0 is another one
        again = Peer(other.home.directory)
        async with running(again):
            assert again.status().addresses != other.status().addresses
            peer_id = again.status().peer_id
            since = len(records_of(hub.home, "exchange"))
            await until(
                lambda: any(
                    each["neighbour"] == peer_id and each["outcome"] == "ok"
                    for each in records_of(hub.home, "exchange")[since:]
                )
            )


@in_trio
async def test_two_peers_of_port_0_that_both_restart_find_each_other_again(tmp_path):
    """None of them is told of anything: each listens again where the other knows it."""
    async with network_of(tmp_path, 2, exchange=LONG) as peers:
        await until(lambda: min(peer.status().event for peer in peers) >= 3)
        before = [peer.status().addresses for peer in peers]
    again = [Peer(peer.home.directory) for peer in peers]
    async with running(*again):
        assert [peer.status().addresses for peer in again] == before
        events = [peer.status().event for peer in again]
        await until(
            lambda: all(peer.status().event >= event + 3 for peer, event in zip(again, events, strict=True))
        )


@in_trio
async def test_a_port_that_is_taken_meanwhile_is_given_up_for_a_free_one(tmp_path, caplog):
    first = Peer(tmp_path / "alice", settings=quick_settings())
    async with running(first):
        [address] = first.status().addresses
    port = int(address.split("/")[4])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        again = Peer(tmp_path / "alice")
        async with running(again):
            [elsewhere] = again.status().addresses
            assert elsewhere != address
            assert int(elsewhere.split("/")[4]) > 0
    assert f"cannot listen at the previous port {port}" in caplog.text
    third = Peer(tmp_path / "alice")
    async with running(third):
        assert third.status().addresses == (elsewhere,)


@in_trio
async def test_a_peer_whose_bootstrap_is_not_there_says_so(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("gossipfl.peer.gossip.isolation._LOOK_SECONDS", 0.02)
    hub = Peer(tmp_path / "hub", settings=quick_settings(0, exchange=LONG))
    async with running(hub):
        bootstrap = hub.status().addresses
    monkeypatch.setitem(warn_of_isolation.__kwdefaults__, "seconds", 0.3)
    with caplog.at_level(logging.INFO):
        peer = Peer(tmp_path / "p", settings=quick_settings(1, bootstrap=bootstrap, exchange=LONG))
        async with running(peer):
            await until(lambda: "no other has been reachable" in caplog.text)
            assert bootstrap[0] in caplog.text
            assert "other peers are reachable again" not in caplog.text
            async with running(Peer(tmp_path / "hub")):
                await until(lambda: "other peers are reachable again" in caplog.text)


@in_trio
async def test_neighbours_of_neighbours_become_known(tmp_path):
    """All were told of the first peer only; it may go once they know each other."""
    async with network_of(tmp_path, 4, exchange=LONG) as [hub, *others]:
        await until(lambda: all(each.status().neighbours == 3 for each in others))
        hub.stop()
        await until(lambda: not hub.home.is_running())
        before = [each.status().event for each in others]
        await until(lambda: all(o.status().event > e + 5 for o, e in zip(others, before, strict=True)))


@in_trio
async def test_peers_of_different_codecs_and_modes_learn_from_each_other(tmp_path):
    hub = Peer(tmp_path / "hub", settings=quick_settings(0, exchange=LONG))
    async with running(hub):
        bootstrap = hub.status().addresses
        others = [
            Peer(
                tmp_path / name, settings=quick_settings(i, bootstrap=bootstrap, exchange={**LONG, **changes})
            )
            for i, (name, changes) in enumerate(
                {
                    "half": {"codec": "bfloat16"},
                    "push": {"mode": "push", "codec": "float16"},
                    "eighth": {"codec": "int8"},
                    "random": {"codec": "qsgd:31:16"},
                }.items(),
                start=1,
            )
        ]
        async with running(*others):
            await until(lambda: min(each.status().event for each in (hub, *others)) >= 10)
            await until(
                lambda: (
                    {"float32", "bfloat16", "float16", "int8:256", "qsgd:31:16"}
                    == {each["codec"] for peer in (hub, *others) for each in records_of(peer.home, "merge")}
                )
            )
    assert not any(records_of(others[1].home, "exchange")[i]["answer_event"] for i in range(3))


@in_trio
async def test_a_neighbour_of_another_task_is_told_of_once_and_changes_nothing(tmp_path, caplog):
    hub = Peer(tmp_path / "hub", settings=quick_settings(0, exchange=LONG))
    async with running(hub):
        bootstrap = hub.status().addresses
        stranger = Peer(
            tmp_path / "other",
            settings=quick_settings(1, bootstrap=bootstrap, options={"name": "plants"}, exchange=LONG),
        )
        with caplog.at_level(logging.WARNING):
            async with running(stranger):
                await until(lambda: hub.counters.refused["incompatible_task"] >= 3)
        assert hub.status().event == 0
    told = [each.getMessage() for each in caplog.records if "incompatible_task" in each.getMessage()]
    assert len(told) == 1
    assert "a different task" in told[0]


@in_trio
async def test_only_who_is_allowed_may_connect(tmp_path):
    friend, stranger = (
        Peer(tmp_path / name, settings=quick_settings(i)) for i, name in enumerate(("f", "s"))
    )
    async with running(friend), running(stranger):
        allow = [friend.status().peer_id]
        bootstrap = [*friend.status().addresses, *stranger.status().addresses]
        peer = Peer(tmp_path / "p", settings=quick_settings(2, bootstrap=bootstrap, network={"allow": allow}))
        async with running(peer):
            await until(lambda: any(records_of(peer.home, "merge")))
            await until(lambda: len(records_of(peer.home, "merge")) > 5)
            assert {each["sender"] for each in records_of(peer.home, "merge")} == set(allow)
            assert peer._incarnation.host.connected() <= set(allow)


@in_trio
async def test_a_model_that_diverged_is_never_sent(tmp_path, caplog):
    async with network_of(
        tmp_path, 2, training={"learning_rate": 1e30, "weight_decay": 1e10}, exchange={"patience": 0.05}
    ) as peers:
        with caplog.at_level(logging.WARNING):
            await until(
                lambda: any("lower the learning rate" in each.getMessage() for each in caplog.records)
            )
            await until(lambda: all(peer.status().divergences >= 3 for peer in peers))
            await until(lambda: all(records_of(peer.home, "merge") for peer in peers))
        assert all(peer.model()[0].weight.isfinite().all() for peer in peers)
        assert not any("non_finite_update" in peer.counters.refused for peer in peers)  # nobody received one


@in_trio
async def test_a_full_disk_keeps_the_last_checkpoint_and_the_peer_goes_on(tmp_path, monkeypatch, caplog):
    peer = Peer(tmp_path / "alice", settings=quick_settings(exchange={"patience": 0.02}))
    async with running(peer):
        await until(lambda: peer.status().saved_age > 0)
        with monkeypatch.context() as patched:

            def full(*_):
                raise OSError(28, "No space left on device")

            patched.setattr("gossipfl.peer.housekeeping.save_checkpoint", full)
            patched.setattr("gossipfl.peer.housekeeping.write_status", full)
            with caplog.at_level(logging.WARNING):
                await until(lambda: "the checkpoint could not be written" in caplog.text)
            age = peer.status().age
            await until(lambda: peer.status().age > age + 5)
        saved = peer.status().saved_age
        await until(lambda: peer.status().saved_age > saved)


@in_trio
async def test_a_metric_that_fails_is_named(tmp_path):
    def broken(outputs, targets):
        raise KeyError("colour")

    task = dataclasses.replace(blobs(), metrics={"broken": broken})
    peer = Peer(tmp_path / "alice", settings=quick_settings(), task=task)
    with pytest.raises(InvalidTask, match="KeyError: 'colour'"):
        await peer.run()


@pytest.mark.parametrize(
    ("data", "part"),
    [(lambda: {}["x"], "KeyError: 'x'"), (lambda: torch.zeros(3), "expected a gossipfl.Dataset")],
)
def test_data_that_cannot_be_read_is_named(tmp_path, data, part):
    peer = Peer(tmp_path / "alice", settings=quick_settings(), task=dataclasses.replace(blobs(), data=data))
    with pytest.raises(InvalidTask, match=part):
        trio.run(peer.run)
    assert not peer.home.is_running()


def test_peers_of_equal_settings_do_not_choose_in_step():
    settings = quick_settings()
    draws = [
        neighbour_generator(settings, peer_id).random(4).tolist() for peer_id in ("12D3a", "12D3a", "12D3b")
    ]
    assert draws[0] == draws[1] != draws[2]
    other = quick_settings(runtime={"seed": 1})
    assert not np.array_equal(neighbour_generator(other, "12D3a").random(4), draws[0])


def test_a_bootstrap_peer_of_several_addresses_is_tried_at_all_of_them():
    peer_id = "12D3KooWHM3zPRwnzjUcCxXp5at7DDVowGPxwsFJrSm7dmihFAQV"
    addresses = [f"/ip4/10.0.0.{i}/tcp/4001/p2p/{peer_id}" for i in (1, 2)]
    [known] = bootstrap_peers(quick_settings(bootstrap=addresses))
    assert known.addresses == tuple(addresses)


def test_what_is_set_of_the_network_reaches_it():
    values = {
        "connections": 33,
        "connections_per_address": 22,
        "frames_per_second": 11.0,
        "bytes_per_second": 2e6,
    }
    seconds = {"dial_seconds": 7.0, "silence_seconds": 9.0}
    limits = network_limits(
        quick_settings(network={**values, **seconds}, exchange={"deadline": 8.0}), row_bytes=4
    )
    for name, value in {**values, **seconds}.items():
        assert getattr(limits, name) == value
    assert limits.exchange_seconds == 8.0
    elsewhere = {
        "listen",
        "announce",
        "bootstrap",
        "allow",
        "relay",
        "offer_relay",
        "upload_mbits",
        "download_mbits",
    }
    assert set(values) | set(seconds) | elsewhere == set(NetworkSettings.model_fields)


@in_trio
async def test_buffers_stay_each_peers_own(tmp_path):
    """A model with BatchNorm: its running statistics tell of raw data, and never meet another peer's."""

    def model():
        return nn.Sequential(nn.BatchNorm1d(16), nn.Linear(16, 3))

    tasks = [dataclasses.replace(blobs(index=index), model=model) for index in range(2)]
    hub = Peer(tmp_path / "hub", settings=quick_settings(0, exchange=LONG), task=tasks[0])
    async with running(hub):
        settings = quick_settings(1, bootstrap=hub.status().addresses, exchange=LONG)
        other = Peer(tmp_path / "other", settings=settings, task=tasks[1])
        async with running(other):
            await until(lambda: min(hub.status().step, other.status().step) >= 30)
            means = [peer.model().state_dict()["0.running_mean"] for peer in (hub, other)]
    for task, mean in zip(tasks, means, strict=True):
        own = task.data().train_inputs.mean(dim=0)
        assert (mean - own).abs().max() < 0.25
    assert (means[0] - means[1]).abs().max() > 0.1


@in_trio
async def test_a_peer_that_lost_its_key_is_another_one_and_says_so(tmp_path, caplog):
    first = Peer(tmp_path / "alice", settings=quick_settings())
    async with running(first):
        pass
    async with running(Peer(tmp_path / "alice")) as [again]:
        assert again.status().peer_id == first.status().peer_id
    assert "no key" not in caplog.text
    (tmp_path / "alice" / "identity.key").unlink()
    async with running(Peer(tmp_path / "alice")) as [another]:
        assert another.status().peer_id != first.status().peer_id
    assert caplog.text.count("has a checkpoint but no key") == 1


@in_trio
async def test_a_peer_object_runs_once(tmp_path):
    peer = Peer(tmp_path / "alice", settings=quick_settings())
    async with running(peer):
        pass
    with pytest.raises(HomeError, match="has been run before"):
        await peer.run()


@in_trio
async def test_data_that_break_training_midway_are_named_and_the_model_is_kept(tmp_path):
    class Picky(nn.Sequential):
        def forward(self, inputs):
            if inputs.max() > 1e6:
                raise ValueError("no such sample")
            return super().forward(inputs)

    task = blobs()
    whole = task.data()
    inputs = whole.train_inputs.clone()
    inputs[-1] = 1e7  # not among the first samples, which are tried at the start
    broken = dataclasses.replace(
        task,
        model=lambda: Picky(nn.Linear(16, 3)),
        data=lambda: dataclasses.replace(whole, train_inputs=inputs),
    )
    settings = quick_settings(exchange={"patience": 0.01}, training={"batch_size": 4})
    peer = Peer(tmp_path / "alice", settings=settings, task=broken)
    with pytest.raises(BaseExceptionGroup) as failed:
        await peer.run()
    error = only_error(failed.value)
    assert isinstance(error, InvalidTask)
    assert "training failed" in str(error)
    assert "no such sample" in str(error)
    assert peer.home.checkpoint.exists()


def test_a_model_factory_that_fails_is_named():
    def model():
        raise RuntimeError("no weights here")

    with pytest.raises(InvalidTask, match="no weights here"):
        dataclasses.replace(blobs(), model=model).build_module()
