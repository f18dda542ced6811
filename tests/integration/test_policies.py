"""Peers with a policy: they wait and go on as the machine changes, say why, and are replayed bit for bit."""

import json
import multiprocessing
import signal
import time
from contextlib import contextmanager

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gossipfl.peer import Peer
from gossipfl.peer.control import request_pause
from gossipfl.peer.policy.processor import Processor
from gossipfl.settings import dump_settings, load_settings
from sims.replay import replay
from tests.gossipfl.cli.test_main import cli
from tests.gossipfl.network.helpers import in_trio, until
from tests.gossipfl.peer.page.http_client import Client
from tests.gossipfl.peer.policy.buses import fake_services, private_bus
from tests.gossipfl.peer.rounds.networks_of_rounds import peers_in_rounds

from .peers import PeerProcess, network_of, quick_settings, record_lines, records_of, running
from .test_replay import assert_replayed

__all__ = ["cli"]

QUICK = {"period": 0.05, "dwell": 0.0}


def wait_for(condition, *, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


class Switch:
    """A script in a home, and the file that makes it forbid training."""

    def __init__(self, home, *, says="the owner is at work"):
        home.mkdir(parents=True, exist_ok=True)
        self.script, self.forbids = home / "may-train", home / "forbidden"
        self.script.write_text(f"#!/bin/sh\ntest -e {self.forbids} && {{ echo '{says}'; exit 1; }}\nexit 0\n")
        self.script.chmod(0o700)

    def off(self):
        self.forbids.touch()

    def on(self):
        self.forbids.unlink()


@pytest.mark.parametrize(
    ("merge", "changes"),
    [
        ("always", {"training": {"momentum": 0.9}, "exchange": {"merges_per_training": 2}}),
        ("always", {"gossip": {"algorithm": "ad_psgd"}}),
        ("then", {"gossip": {"merge": "UM"}, "training": {"local_steps": 3}}),
    ],
    ids=["always", "always, AD-PSGD", "then"],
)
@in_trio
async def test_a_peer_that_waits_is_replayed_bit_for_bit(tmp_path, merge, changes):
    switch = Switch(tmp_path / "scripts")
    policy = {**QUICK, "script": str(switch.script), "merge": merge}
    async with network_of(tmp_path, 2, **changes) as [hub, _]:
        settings = quick_settings(2, bootstrap=hub.status().addresses, policy=policy, **changes)
        peer = Peer(tmp_path / "peer-2", settings=settings)
        async with running(peer):
            for _ in range(2):
                step = peer.status().step
                await until(lambda step=step: peer.status().step >= step + 3)
                switch.off()
                await until(lambda: not peer.status().permission.trains)
                assert peer.status().policy["trains"] is False
                step, event = peer.status().step, peer.status().event
                if merge == "always":
                    await until(lambda event=event: peer.status().event >= event + 5)
                else:
                    await until(lambda: "peer_busy" in outcomes_with(hub, peer))
                    known = len(records_of(hub.home, "exchange"))
                    await until(lambda known=known: len(records_of(hub.home, "exchange")) > known + 5)
                    assert peer.status().event <= event + 1  # what was in progress
                assert peer.status().step <= step + (3 if merge == "then" else 1)  # in progress
                switch.on()
                await until(lambda: peer.status().permission.trains)
            step = peer.status().step
            await until(lambda: peer.status().step >= step + 3)
    homes = [tmp_path / f"peer-{number}" for number in range(3)]
    assert [each.verdict for each in replay(homes).peers] == ["identical"] * 3
    untrained = [
        each for each in record_lines(peer.home) if each["kind"] in ("merge", "clock") and not each["trained"]
    ]
    assert (len(untrained) > 5) or merge == "then"
    if "algorithm" not in changes.get("gossip", {}):
        assert replay(homes, batched=True).equal
        assert_replayed([(each, Peer(home).home) for each, home in _settings_of(homes)], least=20)


def outcomes_with(peer, other):
    """Outcomes of the exchanges that a peer started with another one."""
    neighbour = other.status().peer_id
    return [each["outcome"] for each in records_of(peer.home, "exchange") if each["neighbour"] == neighbour]


def _settings_of(homes):
    return [(load_settings(home / "peer.toml"), home) for home in homes]


@pytest.mark.parametrize("algorithm", ["d_psgd", "gradient_tracking"])
@in_trio
async def test_a_member_of_rounds_that_may_not_train_takes_part_all_the_same(tmp_path, algorithm):
    switch = Switch(tmp_path / "scripts")
    peers = peers_in_rounds(tmp_path, 3, rounds={"algorithm": algorithm, "stop_after": None})
    peers[1] = _with_policy(peers[1], {**QUICK, "script": str(switch.script)})
    async with running(*peers):
        await until(lambda: peers[1].status().event >= 3)
        switch.off()
        await until(lambda: not peers[1].status().permission.trains)
        event = peers[1].status().event + 1
        await until(lambda: peers[1].status().event > event)
        step = peers[1].status().step
        await until(lambda: peers[0].status().event >= event + 5)
        assert peers[1].status().step == step
        switch.on()
        await until(lambda: peers[1].status().step > step)
    rests = [each["rests"] for each in records_of(peers[1].home, "round")]
    assert sum(rests) >= 5
    assert not all(rests)
    homes = [each.home.directory for each in peers]
    assert [each.verdict for each in replay(homes).peers] == ["identical"] * 3
    assert replay(homes, batched=True).equal


@pytest.mark.parametrize("who", ["policy", "operator"])
@in_trio
async def test_a_member_of_rounds_that_may_not_merge_stays_away_and_comes_back(tmp_path, who):
    switch = Switch(tmp_path / "scripts")
    rounds = {"stop_after": None, "deadline": 1.0, "patience": 1}
    peers = peers_in_rounds(tmp_path, 3, rounds=rounds)
    peers[1] = _with_policy(peers[1], {**QUICK, "script": str(switch.script), "merge": "then"})
    async with running(*peers):
        await until(lambda: peers[1].status().event >= 3)
        if who == "policy":
            switch.off()
        else:
            request_pause(peers[1].home.requests, paused=True)
        await until(lambda: not peers[1].status().permission.merges)
        await until(lambda: peers[0].status().event >= peers[1].status().event + 10)
        away = peers[1].status().event
        if who == "policy":
            switch.on()
        else:
            request_pause(peers[1].home.requests, paused=False)
        await until(lambda: peers[1].status().event >= away + 12)
    homes = [each.home.directory for each in peers]
    assert [each.verdict for each in replay(homes).peers] == ["identical"] * 3
    assert records_of(peers[1].home, "jump")


def _with_policy(peer, policy):
    settings = peer.settings.model_copy(update={"policy": quick_settings(policy=policy).policy})
    peer.home.settings.unlink()
    return Peer(peer.home.directory, settings=settings)


def log_of(home):
    return [json.loads(line)["message"] for line in home.log.read_text().splitlines()]


def own_metrics(client):
    families = text_string_to_metric_families(client.get("/metrics").body.decode())
    return {
        (sample.name, *sample.labels.values()): sample.value for each in families for sample in each.samples
    }


def rewrite(home, **policy):
    settings = load_settings(home.settings)
    changed = settings.policy.model_copy(update=policy)
    home.settings.write_text(dump_settings(settings.model_copy(update={"policy": changed})))


@contextmanager
def page_of(peer):
    status = wait_for(lambda: (found := peer.status()) and found["page"] and found)
    yield Client(int(status["page"].rpartition(":")[2].strip("/")), peer.home.page_token.read_text().strip())


def test_a_decision_is_in_the_log_the_status_the_metrics_and_the_page(cli, tmp_path, monkeypatch):
    """With a fake battery on a real D-Bus, and settings reloaded by SIGHUP."""
    power = {"OnBattery": False, "Percentage": 80.0, "IsPresent": True}
    policy = {**QUICK, "battery": 0.4, "charging": True}
    settings = quick_settings(page={"enabled": True}, policy=policy)
    with (
        private_bus(tmp_path, monkeypatch),
        fake_services(power=power),
        PeerProcess(tmp_path / "alice", settings) as peer,
        page_of(peer.start("--plain")) as client,
    ):
        home = peer.home
        peer.until_at(step=3)
        assert own_metrics(client)["gossipfl_training_allowed",] == 1
        assert client.get("/healthz").json["waiting"] is None

        power.update(Percentage=37.0)
        first = "training waits: the battery is at 37% (at least 40%)"
        wait_for(lambda: client.get("/healthz").json["waiting"] == first)
        power.update(OnBattery=True)
        text = f"{first}; on battery"
        wait_for(lambda: client.get("/healthz").json["waiting"] == text)
        health = client.get("/healthz")
        assert health.status == 200
        assert health.json["problems"] == []
        step = client.get("/api/status").json["step"]
        status = client.get("/api/status").json
        assert status["permission"] == {"trains": False, "merges": True}
        assert {each["name"]: each["holds"] for each in status["policy"]["conditions"]} == {
            "battery": False,
            "charging": False,
        }
        metrics = own_metrics(client)
        assert metrics["gossipfl_training_allowed",] == 0
        assert metrics["gossipfl_merging_allowed",] == 1
        assert metrics["gossipfl_policy_condition_holds", "battery"] == 0
        assert metrics["gossipfl_policy_reading", "battery"] == 0.37
        assert metrics["gossipfl_condition", "policy"] == 1
        wait_for(lambda: "✗ the battery is at 37%" in cli("peer", "status", "--home", home.directory)[1])
        assert [log_of(home).count(each) for each in (first, text)] == [1, 1]
        events = client.get("/api/view?after=0&since=0").json["events"]
        [decided] = [each for each in events if each["kind"] == "permission"][2:]
        assert (decided["trains"], decided["reasons"]) == (False, ["battery"])

        rewrite(home, charging=False, battery=0.2, merge="then")
        peer.process.send_signal(signal.SIGHUP)
        peer.until_at(step=step + 3)
        assert "policy.battery: 0.2 instead of 0.4 from now on" in log_of(home)
        assert "training goes on: all conditions of the policy hold" in log_of(home)
        rewrite(home, script="no-such-script")
        peer.process.send_signal(signal.SIGHUP)
        wait_for(
            lambda: any("the settings were not reloaded: policy.script" in each for each in log_of(home))
        )
        assert peer.process.poll() is None


def _burn():
    while True:
        sum(range(10_000))


@pytest.mark.slow
def test_a_peer_makes_way_for_a_real_load_and_not_for_its_own(tmp_path):
    """A busy process for each core, started and ended; the peer trains as fast as it can all the time."""
    processor = Processor()
    if processor.read().value > 0.3:
        pytest.skip("other processes use too much of this machine's CPU")
    policy = {"period": 1.0, "dwell": 2.0, "other_cpu": 0.5}
    exchange = {"period": 0.01, "patience": 0.001}
    context = multiprocessing.get_context("spawn")
    with PeerProcess(tmp_path / "alice", quick_settings(policy=policy, exchange=exchange)) as peer:
        peer.start("--plain").until_at(step=100, seconds=300)
        busy = [context.Process(target=_burn, daemon=True) for _ in range(multiprocessing.cpu_count())]
        for each in busy:
            each.start()
        try:
            wait_for(lambda: not peer.status()["permission"]["trains"], seconds=120)
            [condition] = peer.status()["policy"]["conditions"]
            assert condition["value"] > 0.5
            step = wait_for(peer.status)["step"]
            evaluations = len(records_of(peer.home, "evaluation"))
            wait_for(lambda: len(records_of(peer.home, "evaluation")) > evaluations + 5, seconds=120)
            assert peer.status()["step"] <= step + 1
        finally:
            for each in busy:
                each.kill()
                each.join()
        peer.until_at(step=step + 100, seconds=300)
        said = [each for each in log_of(peer.home) if each.startswith("training")]
        assert "other processes use" in said[0]
        assert said[-1] == "training goes on: all conditions of the policy hold"
