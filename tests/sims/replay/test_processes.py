"""Real peers, one of them killed, replayed and made a scenario by the commands for it."""

import json
import shutil

import pytest
from typer.testing import CliRunner

from gossipfl.errors import GossipflError
from gossipfl.peer import Home
from sims.cli import app
from sims.replay import replay
from sims.replay.peer_records import read_peers
from sims.scenario import load_scenario
from tests.sims.calibration.test_calibrate import simulated_rate
from tests.sims.replay.conftest import PEERS


def sim(*arguments):
    return CliRunner().invoke(app, [str(each) for each in arguments], env={"COLUMNS": "200"})


def test_every_row_comes_out_to_the_last_bit(network_homes):
    result = sim("replay", *network_homes)
    assert result.exit_code == 0, result.output
    assert result.output.count("identical") == PEERS
    assert "the replay left the run" not in result.output


def test_batched_it_comes_close(network_homes):
    result = sim("replay", *network_homes, "--batched", "--json")
    report = json.loads(result.output)
    assert result.exit_code == 0
    assert report["equal"] is True
    assert report["batched"] is True
    assert max(peer["max_relative"] for peer in report["peers"]) <= 1e-4
    assert [peer["starts"] for peer in report["peers"]] == [1, 1, 1, 2]
    assert min(peer["events"] for peer in report["peers"]) >= 80
    assert report["events"] >= 500
    assert report["waves"] < report["events"]


def test_while_peers_run_their_homes_can_be_replayed_too(network_homes, tmp_path):
    """A copied home holds records beyond its checkpoint, as that of a running peer does."""
    copies = [shutil.copytree(home, tmp_path / home.name) for home in network_homes]
    with Home(copies[0]).locked():
        assert Home(copies[0]).is_running()
        assert replay(copies).equal


def test_a_model_that_is_not_what_the_records_say(network_homes, tmp_path):
    copies = [shutil.copytree(home, tmp_path / home.name) for home in network_homes]
    path = min((copies[0] / "records").iterdir())
    path.write_text(path.read_text().replace('"trained":true', '"trained":true,"codec":"float16"'))
    result = sim("replay", *copies)
    assert result.exit_code == 1
    assert "differs" in result.output
    assert "the replay left the run at event" in result.output


def test_a_forgotten_peer_is_a_named_error(network_homes):
    result = sim("replay", *network_homes[:-1])
    assert isinstance(result.exception, GossipflError)
    assert read_peers(network_homes)[-1].peer in str(result.exception)


def test_the_calibrated_scenario_sends_as_many_messages(network_homes, tmp_path):
    out = tmp_path / "twin.toml"
    result = sim("calibrate", *network_homes, "--out", out)
    assert result.exit_code == 0, result.output
    assert "network.period = " in result.output
    scenario = load_scenario(out)
    peers = read_peers(network_homes)
    lives = [life for peer in peers for life in peer.lives.values()]
    online = sum(life.ended - life.started for life in lives)
    exchanges = [exchange for life in lives for exchange in life.exchanges]
    answers = sum(exchange.outcome == "ok" for exchange in exchanges)
    recorded = (len(exchanges) + answers) / online
    sent, _ = simulated_rate(scenario)
    assert sent / online == pytest.approx(recorded, rel=0.1)
    assert scenario.population.nodes == PEERS
    assert scenario.churn.process.kind == "trace"
    as_json = json.loads(sim("calibrate", *network_homes, "--out", out, "--json").output)
    assert as_json["files"] == [str(out), str(tmp_path / "twin.sessions.csv")]
    period = as_json["estimates"]["network.period"]["value"]
    assert period == pytest.approx(0.1, rel=0.5)
