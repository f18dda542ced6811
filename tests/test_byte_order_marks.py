"""A byte order mark, which editors put before text, is no part of it: in TOML, rosters and traces."""

import pytest

from gossipfl.rounds.roster import read_roster
from gossipfl.settings import RoundsSettings, load_settings
from sims.compiler.timeline.traces import read_round_trips, read_sessions
from sims.scenario import load_scenario
from sims.sweeping.settings import load_sweep

ENCODINGS = pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
IDS = [f"12D3KooW{letter * 44}" for letter in "AB"]


@ENCODINGS
def test_settings_of_a_peer(tmp_path, encoding):
    file = tmp_path / "peer.toml"
    file.write_text('[task]\nname = "blobs"\n[training]\nbatch_size = 7\n', encoding=encoding)
    assert load_settings(file).training.batch_size == 7


@ENCODINGS
def test_a_roster(tmp_path, encoding):
    (tmp_path / "roster").write_text("\n".join(IDS), encoding=encoding)
    found = read_roster(RoundsSettings(algorithm="d_psgd", roster_file="roster"), directory=tmp_path)
    assert list(found.members) == IDS


@ENCODINGS
def test_a_scenario_and_a_sweep(tmp_path, encoding):
    scenario = tmp_path / "scenario.toml"
    scenario.write_text(
        'seed = 5\n[population]\nnodes = 3\n[task]\nname = "digits"\n[topology]\nname = "ring"\n'
        '[algorithm]\nname = "gossip_learning"\n',
        encoding=encoding,
    )
    assert load_scenario(scenario).seed == 5
    sweep = tmp_path / "sweep.toml"
    sweep.write_text('scenario = "scenario.toml"\nseeds = [1, 2]\n', encoding=encoding)
    assert len(load_sweep(sweep).seeds) == 2


@ENCODINGS
@pytest.mark.parametrize("text", ["node,start,end\n0,1.5,2\n1,0,3\n", "node;start;end\n0;1,5;2\n1;0;3\n"])
def test_sessions(tmp_path, encoding, text):
    file = tmp_path / "trace.csv"
    file.write_text(text, encoding=encoding)
    assert read_sessions(file, 2) == [(0, 1_500_000_000, 2_000_000_000), (1, 0, 3_000_000_000)]


@ENCODINGS
@pytest.mark.parametrize("text", ["0,10.5\n10.5,0\n", "0;10,5\n10,5;0\n"])
def test_round_trips(tmp_path, encoding, text):
    file = tmp_path / "rtt.csv"
    file.write_text(text, encoding=encoding)
    assert read_round_trips(file).tolist() == [[0, 10.5], [10.5, 0]]
