"""Shards as actors of a Ray cluster, of two machines as far as Ray can tell."""

import os
import signal
from functools import partial

import pytest

from sims.running import run
from sims.sharding.start import sharded
from tests.sims.sharding.test_rounds import GRAPH, TRACES, require_equal, scenario_of


@pytest.mark.slow
def test_two_actors_are_one_machine(ray_cluster):
    from sims.sharding.ray_crew import ray_crews

    with ray_crews("ray") as crew:
        for name in ("qg_dsgdm", "ad_psgd"):
            made = scenario_of(name, GRAPH)
            many = run(made, simulated_by=partial(sharded, shards=2, crew=crew))
            require_equal(run(made, traces=TRACES), many)


@pytest.mark.slow
def test_two_actors_of_which_one_is_killed_end_as_one_machine_does(ray_cluster, tmp_path):
    """Its process is killed after a checkpoint, and what it held is lost."""
    from sims.sharding.ray_crew import ray_crews

    made = scenario_of("qg_dsgdm", GRAPH, "stop.rounds=8", "output.checkpoint_every=2")
    simulations, killed = [], []

    def look(progress):
        if progress.rounds >= 5 and not killed:
            processes = simulations[0].crew.processes()
            assert len({os.getpid(), *processes}) == 3
            killed.append(processes[1])
            os.kill(processes[1], signal.SIGKILL)

    with ray_crews("ray") as crew:

        def simulated_by(*args, **kwargs):
            simulations.append(sharded(*args, shards=2, crew=crew, **kwargs))
            return simulations[0]

        many = run(made, out=tmp_path / "run", simulated_by=simulated_by, on_progress=look)
    assert killed
    assert simulations[0].losses == 1
    require_equal(run(made, traces=TRACES), many)


@pytest.mark.slow
def test_four_actors_are_one_machine_and_their_errors_its_errors(ray_cluster):
    from sims.errors import NotSimulable
    from sims.sharding.ray_crew import ray_crews

    made = scenario_of("power_gossip", GRAPH, "precision=float64")
    with ray_crews("ray") as crew:
        by = partial(sharded, shards=4, crew=crew)
        require_equal(run(made, traces=TRACES), run(made, simulated_by=by))
        with pytest.raises(NotSimulable, match="a masked sum cannot be had of so few neighbours"):
            run(scenario_of("d_psgd", "topology.name=ring", "masked_sums={range=8.0}"), simulated_by=by)
