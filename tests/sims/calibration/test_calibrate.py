"""Scenarios estimated from records with known laws have those laws."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipfl.peer import Home
from gossipfl.settings.gate import GateSettings
from sims.calibration.calibrate import NothingObserved, calibrate
from sims.calibration.estimators import delay_of_exchanges, estimate_clock, loss_of_exchanges, step_time
from sims.calibration.files import write_calibration
from sims.calibration.observations import observe
from sims.compiler.timeline import Timeline, conditions_of, ticks
from sims.replay.peer_records import read_peers
from sims.scenario import load_scenario
from sims.world.networks import neighbour_lists
from tests.sims.replay.recorded import settings_of

few = settings(
    max_examples=20, deadline=None, derandomize=True
)  # chance is in the estimates, not in the test


def digits_settings(index, peers, **tables):
    options = {"partition": "shards:2", "peers": peers, "index": index, "seed": 3}
    return settings_of(
        index,
        task={"name": "digits", "options": options},
        **{"exchange": {"merges_per_training": 1}, **tables},
    )


class Synthetic:
    """Records of peers with known laws; nothing in them was ever learned."""

    def __init__(
        self, directory, *, peers, seconds, seed=0, period=1.0, jitter=0.2, sigma=0.0, work=None, **laws
    ):
        self.said = {} if work is None else {"seconds": work}
        self.directory, self.n, self.seconds = directory, peers, seconds
        self.generator = np.random.default_rng(seed)
        self.periods = period * np.exp(sigma * self.generator.standard_normal(peers))
        self.jitter, self.laws = jitter, {"median": 0.05, "spread": 0.4, "loss": 0.0, "step": 0.002, **laws}

    def homes(self, *, absences=(), settings_for=digits_settings, partners=None):
        """Write them; ``absences``: (peer, from, to), in which a peer is down."""
        for i in range(self.n):
            home = Home(self.directory / f"peer-{i}")
            home.create(settings_for(i, self.n))
            away = [(start, end) for peer, start, end in absences if peer == i]
            starts = [0.0, *(end for _, end in away)]
            ends = [*(start for start, _ in away), self.seconds]
            for incarnation, span in enumerate(zip(starts, ends, strict=True), start=1):
                records = list(self._life(i, incarnation, span, absences, settings_for, partners))
                text = "".join(json.dumps(record) + "\n" for record in records)
                (home.records / f"{incarnation:06d}.jsonl").write_text(text)
        return [self.directory / f"peer-{i}" for i in range(self.n)]

    def _life(self, i, incarnation, span, absences, settings_for, partners):
        start, end = span
        stamp = {"incarnation": incarnation}
        yield {
            "kind": "start", "peer": f"p{i}", "number": i, "task": "00", "layout": "00", "event": 0,
            "age": 0, "step": 0, "merges_pending": 0, "resumed_from": None, "threads": 1, "torch": "x",
            "settings": settings_for(i, self.n).model_dump_json(), "time": 1e9 + start, **stamp,
        }  # fmt: skip
        records = [*self._exchanges(i, start, end, absences, partners), *self._events(start, end)]
        records.sort(key=lambda record: record["time"])
        for record in records:
            yield {**record, "time": 1e9 + record["time"], **stamp}
        yield {"kind": "saved", "event": 0, "age": 0, "time": 1e9 + end, **stamp}

    def _exchanges(self, i, start, end, absences, partners):
        draw, period = self.generator, self.periods[i]
        now = start + draw.random() * period
        while now < end - 1:
            others = partners(i) if partners else [j for j in range(self.n) if j != i]
            other = int(draw.choice(others))
            down = any(j == other and begin <= now <= stop for j, begin, stop in absences)
            lost = (draw.random(2) < self.laws["loss"]).any()
            one_way = self.laws["median"] * np.exp(self.laws["spread"] * draw.standard_normal())
            yield {
                "kind": "exchange", "neighbour": f"p{other}", "seconds": 2 * one_way,
                "outcome": "peer_unreachable" if down else "exchange_timed_out" if lost else "ok",
                "answer_event": None, "time": now + 2 * one_way,
            }  # fmt: skip
            now += period * (1 + self.jitter * draw.uniform(-1, 1))

    def _events(self, start, end):
        """Models arrive by chance; where they wait for one another, a step is all that lies between."""
        arrivals = np.sort(self.generator.uniform(start, end - 1, int(2 * (end - start))))
        done, event = 0.0, 0
        for arrival in arrivals:
            done, event = max(arrival, done) + self.laws["step"], event + 1
            yield {
                "kind": "merge", "event": event, "sender": "p0", "sender_incarnation": 1, "sender_event": 0,
                "sender_age": 0, "codec": "float32", "age": event, "step": event, "trained": True,
                "loss": 1.0, "time": done, **self.said,
            }  # fmt: skip


# Estimators


@few
@given(
    period=st.floats(0.01, 100),
    jitter=st.sampled_from([0.0, 0.1, 0.2, 0.5, 0.9]),
    sigma=st.sampled_from([0.0, 0.3]),
    seed=st.integers(0, 2**32),
)
def test_clocks(period, jitter, sigma, seed):
    generator = np.random.default_rng(seed)
    own = period * np.exp(sigma * generator.standard_normal(200))
    found, spread, deviation = estimate_clock([p * (1 + jitter * generator.uniform(-1, 1, 300)) for p in own])
    assert found == pytest.approx(period, rel=0.1 if sigma else 0.01)
    assert spread == pytest.approx(jitter, abs=0.02 + 0.05 * jitter)
    assert deviation == pytest.approx(sigma, abs=0.06 if sigma else 0.01)


def test_a_suspended_peer_and_one_that_never_spoke_do_not_disturb_the_clock():
    generator = np.random.default_rng(1)
    usual = 2 * (1 + 0.2 * generator.uniform(-1, 1, 500))
    found, spread, _ = estimate_clock([np.append(usual, 3600.0), np.array([]), usual])
    assert found == pytest.approx(2, rel=0.01)
    assert spread == pytest.approx(0.2, abs=0.03)


@few
@given(median=st.floats(1e-4, 10), sigma=st.floats(0.05, 1.5), seed=st.integers(0, 2**32))
def test_delays(median, sigma, seed):
    generator = np.random.default_rng(seed)
    exchanges = 2 * median * np.exp(sigma * generator.standard_normal(5000))
    exchanges[:100] = 20.0  # first contacts
    came = delay_of_exchanges(exchanges)
    assert came[0] == pytest.approx(median, rel=0.15)
    assert came[1] == pytest.approx(sigma, rel=0.15)


@few
@given(loss=st.floats(0, 0.9), answered=st.booleans(), seed=st.integers(0, 2**32))
def test_losses(loss, answered, seed):
    lost = np.random.default_rng(seed).random((20_000, 2 if answered else 1)) < loss
    failed = int(lost.any(axis=1).sum())
    assert loss_of_exchanges(failed, len(lost), answered=answered) == pytest.approx(loss, abs=0.03)
    assert loss_of_exchanges(0, 0, answered=answered) == 0


@few
@given(step=st.floats(1e-4, 0.05), seed=st.integers(0, 2**32))
def test_step_times(step, seed):
    """Within 1/(100 λ) of the truth: λ arrivals a second bring so much waiting for the lowest percentile."""
    arrivals = np.cumsum(np.random.default_rng(seed).exponential(0.1, 4000))
    done, times = 0.0, []
    for arrival in arrivals:
        done = max(arrival, done) + step
        times.append(done)
    came = step_time(np.array([]), np.diff(times))
    assert step * 0.999 <= came <= step + 0.003
    assert step_time(np.array([]), np.array([])) == 0


def test_step_times_that_were_recorded_are_taken_as_they_are():
    work = np.array([0.004, 0.004, 0.005, 0.005, 2.0])  # the last one was suspended
    assert step_time(work, np.array([0.5, 0.7])) == 0.005


# Scenarios


def simulated_rate(scenario):
    """Models sent a node and second that it is online."""
    indptr, indices = neighbour_lists(scenario)
    timeline = Timeline(conditions_of(scenario, indptr=indptr, indices=indices, message_bytes=20_000))
    seconds = scenario.stop.rounds * scenario.network.period
    for window in timeline.windows(ticks(seconds)):
        timeline.kept(window.pending)
    return timeline.counts["sent"], seconds


def test_a_known_network_comes_out(tmp_path):
    made = Synthetic(
        tmp_path, peers=8, seconds=400, period=0.5, jitter=0.3, median=0.02, spread=0.6, loss=0.1
    )
    calibration = calibrate(made.homes())
    files = write_calibration(calibration, tmp_path / "twin.toml")
    scenario = load_scenario(files[0])
    assert files == [tmp_path / "twin.toml"]
    assert scenario.population.nodes == 8
    assert scenario.topology.name == "complete"
    assert scenario.churn.process.kind == "none"
    network = scenario.network
    assert network.period == pytest.approx(0.5, rel=0.02)
    assert network.jitter == pytest.approx(0.3, abs=0.03)
    assert network.period_sigma == 0
    assert network.delay.median == pytest.approx(0.02, rel=0.05)
    assert network.delay.sigma == pytest.approx(0.6, rel=0.1)
    assert network.loss == pytest.approx(0.1, abs=0.02)
    assert 0.002 <= scenario.training.step_seconds <= 0.002 + 1.2 / (100 * 2)  # two arrivals a second
    assert scenario.stop.rounds * network.period == pytest.approx(400, rel=0.01)
    # As many models as the peers sent: each starts one every period, answered if the push was not lost.
    sent, seconds = simulated_rate(scenario)
    assert sent / (8 * seconds) == pytest.approx(1.9 / 0.5, rel=0.03)
    # Settings and data are those of the peers.
    assert (scenario.seed, scenario.task.partition) == (3, "shards:2")
    assert scenario.training.learning_rate == digits_settings(0, 8).training.learning_rate


def test_a_step_takes_as_long_as_the_records_say(tmp_path):
    calibration = calibrate(Synthetic(tmp_path, peers=2, seconds=60, work=0.00125).homes())
    assert calibration.scenario.training.step_seconds == 0.00125
    value, observations = calibration.estimates["training.step_seconds"]
    assert value == 0.00125
    assert observations > 100


def test_the_scenario_divides_the_data_as_the_peers_did(tmp_path):
    from sims.world import build_world

    homes = Synthetic(tmp_path, peers=3, seconds=60).homes()
    world = build_world(calibrate(reversed(homes)).scenario)
    for index in range(3):
        settings = digits_settings(index, 3)
        from gossipfl.tasks import find_task

        own = find_task("digits", settings.task.options).data()
        data = world.trainer.data
        chosen = data.indices[data.offsets[index] : data.offsets[index + 1]]
        assert np.array_equal(data.inputs[chosen], own.train_inputs)
        assert np.array_equal(data.targets[chosen], own.train_targets)


def test_absences_become_a_trace_and_are_no_loss(tmp_path):
    absences = [(2, 100, 160), (3, 200, 280)]
    made = Synthetic(tmp_path, peers=5, seconds=300, period=0.5)
    calibration = calibrate(made.homes(absences=absences))
    files = write_calibration(calibration, tmp_path / "twin.toml")
    scenario = load_scenario(files[0])
    assert files[1].name == "twin.sessions.csv"
    assert scenario.churn.process.kind == "trace"
    assert scenario.network.loss == 0
    assert scenario.network.choose == "any"
    assert any("checkpoint" in note for note in calibration.notes)
    online = sum(end - start for _, start, end in calibration.sessions)
    assert online == pytest.approx(5 * 300 - 140, rel=0.01)
    sent, seconds = simulated_rate(scenario)
    silent = sum(600 * (end - start) / 300 for _, start, end in absences)
    assert sent == pytest.approx((5 * seconds - 140) / 0.5 * 2 - silent / 4, rel=0.06)


def test_a_sparse_network_keeps_its_graph(tmp_path):
    made = Synthetic(tmp_path, peers=6, seconds=200)
    homes = made.homes(partners=lambda i: [(i + 1) % 6, (i - 1) % 6])
    files = write_calibration(calibrate(homes), tmp_path / "ring.toml")
    indptr, indices = neighbour_lists(load_scenario(files[0]))
    assert files[1].name == "ring.edges"
    assert [sorted(indices[indptr[i] : indptr[i + 1]]) for i in range(6)] == [
        sorted([(i + 1) % 6, (i - 1) % 6]) for i in range(6)
    ]


def test_what_a_scenario_cannot_say_is_noted(tmp_path):
    def blobs(index, _):
        return settings_of(
            index,
            training={"learning_rate": 0.1 if index else 0.2},
            exchange={"merges_per_training": 3, "codec": "qsgd:63:16"},
        )

    calibration = calibrate(Synthetic(tmp_path, peers=3, seconds=60).homes(settings_for=blobs))
    notes = " ".join(calibration.notes)
    assert calibration.scenario.training.learning_rate == 0.1
    assert calibration.scenario.task.samples_per_node == 60
    assert calibration.scenario.algorithm.codec == "qsgd:63:16"
    for said in ("those of 2 of them", "every 3 merges", "(index)"):
        assert said in notes


def test_simulated_nodes_send_as_the_peers_did(tmp_path):
    def blobs(index, _):
        return settings_of(index, exchange={"codec": "int8:64"})

    calibration = calibrate(Synthetic(tmp_path, peers=3, seconds=60).homes(settings_for=blobs))
    assert calibration.scenario.algorithm.codec == "int8:64"
    assert "int8" not in " ".join(calibration.notes)


def test_too_little_to_estimate_from(tmp_path):
    homes = Synthetic(tmp_path, peers=2, seconds=30).homes()
    with pytest.raises(NothingObserved, match="one peer is not a network"):
        calibrate(homes[:1])
    for home in homes:
        path = home / "records/000001.jsonl"
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:1]))
    with pytest.raises(NothingObserved, match="hardly exchanged"):
        calibrate(homes)


def test_a_scenario_that_cannot_be_written(tmp_path):
    from sims.errors import InvalidScenario

    calibration = calibrate(Synthetic(tmp_path, peers=2, seconds=60).homes())
    with pytest.raises(InvalidScenario, match="cannot be written"):
        write_calibration(calibration, tmp_path / "nowhere" / "twin.toml")


@pytest.mark.parametrize("gate", [{}, {"radius": 3.0, "age_slack": 4}, {"enabled": False}])
def test_nodes_have_the_gate_that_peers_had(gate, tmp_path):
    def with_gate(index, peers):
        return digits_settings(index, peers, gate=gate)

    homes = Synthetic(tmp_path, peers=4, seconds=30).homes(settings_for=with_gate)
    found = calibrate(homes).scenario.gate
    assert found == (None if gate.get("enabled") is False else GateSettings(**gate))


def test_one_home_of_a_network_is_enough_to_look_at_it(tmp_path):
    """As `gossipfl analyze` does: a consortium has not all homes on one disk."""
    homes = Synthetic(tmp_path, peers=3, seconds=30).homes()
    seen = observe(read_peers(homes[:1]))
    assert seen.exchanges == seen.reachable > 0  # others are taken to be there
    assert seen.pairs == frozenset()
    with pytest.raises(NothingObserved, match="one peer is not a network"):
        calibrate(homes[:1])
