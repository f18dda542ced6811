"""Shards that are lost or fail, in threads of this process."""

from dataclasses import replace
from functools import partial

import pytest

from sims.errors import NotEnoughMemory, SimulationError
from sims.running import run
from sims.running.checkpoint import CHECKPOINT
from sims.sharding.crew import ShardLost, Threads
from sims.sharding.start import sharded
from tests.sims.sharding.test_rounds import GRAPH, TRACES, require_equal, scenario_of

LOSSES = ("network.loss=0.2", "network.deadline=1", "churn.process={kind='cycle',offline=0.2}")


class Losing:
    """Makes crews that lose a shard, each time the run has come so far."""

    def __init__(self, *losses):
        self.losses, self.simulation = list(losses), None

    def __call__(self, scenario, world, **kwargs):
        def crew(task, world):
            self.crew = Threads(task, world)
            return self.crew

        self.simulation = sharded(scenario, world, shards=3, crew=crew, **kwargs)
        return self.simulation

    def look(self, progress):
        if self.losses and progress.rounds >= self.losses[0][0]:
            self.crew.lose(self.losses.pop(0)[1])


@pytest.mark.parametrize(
    ("checkpoints", "overrides"),
    [
        ((), ()),
        (("output.checkpoint_every=2",), LOSSES),
        pytest.param(("output.checkpoint_every=2",), (), marks=pytest.mark.slow),
        pytest.param((), LOSSES, marks=pytest.mark.slow),
    ],
)
def test_a_run_that_lost_shards_ends_as_if_it_had_not(checkpoints, overrides, tmp_path):
    """Two are lost, the second during what is done again: before an evaluation, and before rounds."""
    made = scenario_of("qg_dsgdm", GRAPH, "stop.rounds=8", *overrides, *checkpoints)
    losing = Losing((3, 1), (5, 0))
    many = run(made, out=tmp_path / "run", traces=TRACES, simulated_by=losing, on_progress=losing.look)
    assert losing.simulation.losses == 2
    require_equal(run(made, traces=TRACES), many)


def test_who_survives_goes_back_to_the_checkpoint_and_is_not_made_anew(tmp_path):
    made = scenario_of("d_psgd", GRAPH, "stop.rounds=8", "output.checkpoint_every=2")
    losing, seen = Losing((5, 1)), []

    def look(progress):
        seen.append(list(losing.crew.shards))
        losing.look(progress)

    run(made, out=tmp_path / "run", traces=TRACES, simulated_by=losing, on_progress=look)
    assert losing.simulation.losses == 1
    assert [one is other for one, other in zip(seen[0], seen[-1], strict=True)] == [True, False, True]


def test_one_that_is_lost_again_and_again_ends_the_run():
    made = scenario_of("d_psgd", GRAPH)
    losing = Losing()

    def simulated_by(*args, **kwargs):
        simulation = losing(*args, **kwargs)
        made_again = losing.crew._start
        losing.crew._start = lambda: (made_again(), losing.crew.lose(2))
        losing.crew.lose(2)
        return simulation

    with pytest.raises(ShardLost):
        run(made, traces=TRACES, simulated_by=simulated_by)
    assert losing.simulation.losses == 6


def test_an_error_of_one_shard_is_the_error_of_the_run_and_none_waits_on():
    made = scenario_of("d_psgd", GRAPH)
    losing = Losing()

    def simulated_by(*args, **kwargs):
        simulation = losing(*args, **kwargs)
        engine = losing.crew.shards[1]._simulation.engine

        def fails(exchange):
            raise SimulationError("something is wrong here")

        engine._carried_out = fails
        return simulation

    with pytest.raises(SimulationError, match="something is wrong here"):
        run(made, traces=TRACES, simulated_by=simulated_by)


def test_shards_that_share_a_machine_must_fit_together(monkeypatch):
    scenario = scenario_of("d_psgd", "stop.rounds=2")
    seen = []

    def crew(task, world):
        return Threads(replace(task, together=2), world)

    for _ in range(2):  # a first run traces, and needs more
        run(scenario, simulated_by=partial(sharded, shards=2), on_progress=seen.append)
    needed = seen[-1].memory.total
    assert str(seen[-1].memory).endswith(" in each of 2 shards")
    monkeypatch.setattr("sims.sharding.shard.available_memory", lambda: int(1.9 * needed))
    run(scenario, simulated_by=partial(sharded, shards=2))
    with pytest.raises(NotEnoughMemory, match="for each of 2 shards on one machine"):
        run(scenario, simulated_by=partial(sharded, shards=2, crew=crew))


def test_one_that_is_lost_while_a_checkpoint_is_gathered_costs_nothing(tmp_path):
    """The checkpoint is of what all have done again; the one before is there until then."""
    made = scenario_of("qg_dsgdm", GRAPH, "stop.rounds=8", "output.checkpoint_every=2")
    losing, gathered = Losing(), []

    def simulated_by(*args, **kwargs):
        simulation = losing(*args, **kwargs)
        ask = losing.crew.ask

        def asked(method, given):
            if method == "state":
                gathered.append((tmp_path / "run" / CHECKPOINT).exists())
                if len(gathered) == 2:
                    losing.crew.lose(1)
            return ask(method, given)

        losing.crew.ask = asked
        return simulation

    many = run(made, out=tmp_path / "run", traces=TRACES, simulated_by=simulated_by)
    assert gathered[:3] == [False, True, True]
    assert losing.simulation.losses == 1
    require_equal(run(made, traces=TRACES), many)


def test_a_shard_is_estimated_with_rows_of_others_and_with_ray():
    """On a ring a shard sends two rows, and receives and combines two."""
    shard, alone = [], []
    made = scenario_of("d_psgd", "topology.name=ring", "stop.rounds=2")
    run(made, traces=TRACES)  # later runs trace nothing, and load less
    ran = run(made, traces=TRACES, simulated_by=partial(sharded, shards=3), on_progress=shard.append)
    run(made, traces=TRACES, on_progress=alone.append)
    row = 8 * ran.layout.shared_size
    assert shard[0].memory.exchanged == (2 + 2 * 2) * row
    assert "rows of other shards" in str(shard[0].memory)
    assert shard[0].memory.base - alone[0].memory.base == 54_000_000
    assert shard[0].memory.rows == pytest.approx(alone[0].memory.rows / 3, abs=1)
