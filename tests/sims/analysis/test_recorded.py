"""Runs of real peers: their records and checkpoints, and what follows from them."""

import json
from contextlib import suppress

import numpy as np
import pytest
import torch

from gossipfl.peer.store.checkpoint import read_row
from sims.analysis import load_runs
from sims.analysis.errors import DamagedRun, EmptyRun
from sims.analysis.runs.retracing import retraced_models
from sims.replay.errors import TornRecords
from sims.replay.peer_records import read_peers
from tests.sims.replay.recorded import RecordingPeer, gossip, recorded_run, rewrite, settings_of
from topology.errors import ExplainedError


def with_times(homes):
    """Records written by a loop without a clock get times a hundredth of a second apart, and exchanges."""
    for home in homes:
        for file in (home / "records").glob("*.jsonl"):

            def timed(records):
                for index, record in enumerate(records):
                    now = 1000 + 2 * (record["incarnation"] - 1) + 0.01 * index
                    yield {**record, "time": now}
                    if index % 5 == 4:
                        yield {
                            "kind": "exchange",
                            "neighbour": "unknown",
                            "outcome": "ok" if index % 2 else "peer_busy",
                            "seconds": 0.001,
                            "answer_event": None,
                            "time": now,
                            "incarnation": record["incarnation"],
                        }

            rewrite(file, timed)
    return homes


@pytest.fixture(scope="module")
def homes(tmp_path_factory):
    return with_times(recorded_run(tmp_path_factory.mktemp("peers"), peers=3, rounds=6))


def test_homes_side_by_side_are_one_network(homes):
    (named,) = load_runs(homes)
    (found,) = load_runs([homes[0].parent])
    assert found.source == named.source == "peers"
    assert len(found.homes) == 3
    assert found.labels == ("peer 0", "peer 1", "peer 2")
    assert found.curves.equals(named.curves)
    assert found.configuration["algorithm.name"] == "gossip_learning"
    assert found.configuration["population.nodes"] == 3


def test_the_last_models_are_those_of_the_checkpoints(homes):
    (found,) = load_runs(homes)
    for index, home in enumerate(found.homes):
        row, _age = read_row(home / "checkpoint.safetensors")
        np.testing.assert_array_equal(found.rows[index], row.numpy())


def test_models_computed_again_are_bit_for_bit_those_that_were_saved(homes):
    peers = read_peers(homes)
    models = retraced_models(peers, np.array([0.0, 1e6]))
    assert models.present.all()
    assert models.note == ""
    assert np.array_equal(models.rows[0, 0], models.rows[0, 1])  # all start alike
    assert not np.array_equal(models.rows[1, 0], models.rows[1, 1])
    for index, peer in enumerate(peers):
        saved, _age = read_row(peer.home.checkpoint)
        last = next(reversed(peer.lives.values()))
        # The peers saved, and then trained once more, which nobody saw.
        before_last = retraced_models(peers, np.array([last.events[-1].time - 1000 - 0.001])).rows[0, index]
        assert np.array_equal(before_last, saved.numpy())


def test_curves_know_what_no_peer_can_know_of_itself(homes):
    (found,) = load_runs(homes)
    distance = found.column("consensus_distance")
    assert distance[0] == 0  # all start alike
    assert np.isfinite(distance).all()
    assert distance.max() > 0
    layers = sum(found.column(f"consensus_distance/{name}") for name in found.layers)
    np.testing.assert_allclose(layers, distance, rtol=1e-5)
    assert np.isfinite(found.column("mean_model_accuracy")).all()
    assert (np.diff(found.column("updates")) >= 0).all()
    assert found.nodes["node"].n_unique() == 3


def test_bytes_are_those_of_the_models_that_were_sent(homes):
    (found,) = load_runs(homes)
    exchanges = [
        json.loads(line)
        for home in homes
        for file in (home / "records").iterdir()
        for line in file.read_text().splitlines()
        if '"exchange"' in line
    ]
    sent = sum(2 if record["outcome"] == "ok" else 1 for record in exchanges)
    assert found.last("messages") == sent
    size = len(found.rows[0])
    assert found.last("bytes") == sent * 4 * size
    assert found.last("lost") == sum(record["outcome"] != "ok" for record in exchanges)


def test_without_evaluations_and_without_retracing_there_is_nothing(homes):
    with pytest.raises(EmptyRun, match="evaluated nothing"):
        load_runs(homes, retrace=False)


def test_peers_measure_themselves_where_models_are_not_computed_again(tmp_path):
    network = [RecordingPeer(tmp_path / f"peer-{i}", settings_of(i)) for i in range(2)]
    for value in (0.25, 0.5, 0.75):
        gossip(network, rounds=1, seed=0)
        for index, peer in enumerate(network):
            accuracy = value + 0.1 * index
            peer.records.append(
                {"kind": "evaluation", "event": 1, "age": 1, "loss": 1 - accuracy, "accuracy": accuracy}
            )
    for peer in network:
        peer.save()
        peer.kill()
    (found,) = load_runs([tmp_path], retrace=False)
    assert found.last("accuracy_mean") == pytest.approx(0.8)
    assert found.last("accuracy_min") == pytest.approx(0.75)
    assert np.isnan(found.column("consensus_distance")).all()
    assert len(found.rows) == 2
    assert any("no scenario could be estimated" in note for note in found.notes)


def test_a_network_that_cannot_be_retraced_says_so_and_is_analysed_all_the_same(tmp_path):
    network = [RecordingPeer(tmp_path / f"peer-{i}", settings_of(i)) for i in range(3)]
    gossip(network, rounds=4, seed=0)
    for peer in network:
        peer.records.append({"kind": "evaluation", "event": 1, "age": 1, "loss": 0.5, "accuracy": 0.5})
        peer.save()
        peer.kill()
    (found,) = load_runs([peer.home.directory for peer in network[:2]])  # the third one's models are missing
    assert any("could not be recomputed" in note for note in found.notes)
    assert found.last("accuracy_mean") == 0.5


def test_torn_records_are_named(tmp_path):
    homes = recorded_run(tmp_path, peers=2, rounds=2)
    file = next((homes[0] / "records").glob("*.jsonl"))
    lines = file.read_text().splitlines()
    file.write_text("\n".join([lines[0], lines[1][:20], *lines[2:]]) + "\n")
    with pytest.raises(TornRecords, match=str(file)):
        load_runs(homes)


def test_threads_are_as_before(homes):
    before = torch.get_num_threads()
    load_runs(homes)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("value", [10**400, "x", [1], {"a": 1}, None], ids=range(5))
@pytest.mark.parametrize("key", ["time", "accuracy", "kind"])
def test_values_of_another_kind_are_read_or_named(tmp_path, key, value):
    homes = with_times(recorded_run(tmp_path, peers=2, rounds=2))
    file = next((homes[0] / "records").glob("*.jsonl"))

    def with_evaluations(records):
        for record in records:
            yield record
        told = {"kind": "evaluation", "loss": 1.0, "accuracy": 0.5, "age": 1}
        for each in (told, {**told, key: value}):
            yield {"time": record["time"], "incarnation": record["incarnation"], **each}

    rewrite(file, with_evaluations)
    with suppress(ExplainedError):
        load_runs(homes, retrace=False)


def test_a_run_whose_summary_is_no_table_is_named(tmp_path):
    (tmp_path / "scenario.toml").write_text(
        '[population]\nnodes = 2\n[task]\nname = "digits"\n[algorithm]\nname = "gossip_learning"\n'
    )
    for summary in ("7", "[", "[" * 100_000, '"finished"'):
        (tmp_path / "run.json").write_text(summary)
        with pytest.raises(DamagedRun, match=r"run\.json"):
            load_runs([tmp_path])
