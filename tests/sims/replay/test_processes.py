"""From real peers, one of them killed, to their replay and to a scenario, by the commands for it."""

import json
import shutil

import pytest
from typer.testing import CliRunner

from gossipfl.errors import GossipflError
from gossipfl.peer import Home
from sims.cli import app
from sims.replay import replay
from sims.replay.records import read_peers
from sims.scenario import load_scenario
from tests.integration.peers import PeerProcess, quick_settings

from .test_calibrate import simulated_rate

PEERS = 4


@pytest.fixture(scope="module")
def homes(tmp_path_factory):
    """Four processes of a few hundred events each; the last one is killed and comes back."""
    directory = tmp_path_factory.mktemp("network")
    peers, bootstrap = [], ()
    tables = {
        "training": {"momentum": 0.9},
        "exchange": {"codec": "bfloat16", "period": 0.1},
        "checkpoint": {"period": 0.5},
    }
    try:
        for index in range(PEERS):
            settings = quick_settings(index, bootstrap=bootstrap, **tables)
            peers.append(PeerProcess(directory / f"peer-{index}", settings, forked=index < PEERS - 1))
            peers[-1].start("--plain")
            bootstrap = peers[0].until_at(event=0)["addresses"]
        victim = peers[-1]
        victim.until_at(event=60)
        victim.process.kill()
        victim.process.wait()
        victim.start("--plain")
        victim.until_at(event=100)
        for peer in peers:
            peer.until_at(event=150)
        for peer in peers:
            peer.process.terminate()
        for peer in peers:
            assert peer.process.wait(timeout=60) == 0, peer.err
    finally:
        for peer in peers:
            peer.__exit__()
    return [peer.home.directory for peer in peers]


def sim(*arguments):
    return CliRunner().invoke(app, [str(each) for each in arguments], env={"COLUMNS": "200"})


def test_every_row_comes_out_to_the_last_bit(homes):
    result = sim("replay", *homes)
    assert result.exit_code == 0, result.output
    assert result.output.count("identical") == PEERS
    assert "the replay left the run" not in result.output


def test_batched_it_comes_close(homes):
    result = sim("replay", *homes, "--batched", "--json")
    report = json.loads(result.output)
    assert result.exit_code == 0
    assert report["equal"] is True
    assert report["batched"] is True
    assert max(peer["max_relative"] for peer in report["peers"]) <= 1e-4
    assert [peer["starts"] for peer in report["peers"]] == [1, 1, 1, 2]
    assert min(peer["events"] for peer in report["peers"]) >= 80
    assert report["events"] >= 500
    assert report["waves"] < report["events"]


def test_while_peers_run_their_homes_can_be_replayed_too(homes, tmp_path):
    """A copied home holds records beyond its checkpoint, as that of a running peer does."""
    copies = [shutil.copytree(home, tmp_path / home.name) for home in homes]
    with Home(copies[0]).locked():
        assert Home(copies[0]).is_running()
        assert replay(copies).equal


def test_a_model_that_is_not_what_the_records_say(homes, tmp_path):
    copies = [shutil.copytree(home, tmp_path / home.name) for home in homes]
    path = copies[0] / "records/000001.jsonl"
    path.write_text(path.read_text().replace('"trained":true', '"trained":true,"codec":"float16"'))
    result = sim("replay", *copies)
    assert result.exit_code == 1
    assert "differs" in result.output
    assert "the replay left the run at event" in result.output


def test_a_forgotten_peer_is_a_named_error(homes):
    result = sim("replay", *homes[:-1])
    assert isinstance(result.exception, GossipflError)
    assert read_peers(homes)[-1].peer in str(result.exception)


def test_the_calibrated_scenario_sends_as_many_messages(homes, tmp_path):
    out = tmp_path / "twin.toml"
    result = sim("calibrate", *homes, "--out", out)
    assert result.exit_code == 0, result.output
    assert "network.period = " in result.output
    scenario = load_scenario(out)
    peers = read_peers(homes)
    lives = [life for peer in peers for life in peer.lives.values()]
    online = sum(life.ended - life.started for life in lives)
    exchanges = [exchange for life in lives for exchange in life.exchanges]
    answers = sum(exchange.outcome == "ok" for exchange in exchanges)
    recorded = (len(exchanges) + answers) / online
    sent, _ = simulated_rate(scenario)
    assert sent / online == pytest.approx(recorded, rel=0.15)
    assert scenario.population.nodes == PEERS
    assert scenario.churn.process.kind == "trace"
    as_json = json.loads(sim("calibrate", *homes, "--out", out, "--json").output)
    assert as_json["files"] == [str(out), str(tmp_path / "twin.sessions.csv")]
    period = as_json["estimates"]["network.period"]["value"]
    assert period == pytest.approx(0.1, rel=0.5)
