"""Runs of scenarios from start to stop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from gossipfl.tasks import Dataset
from sims.engine.device import device_of
from sims.engine.programme import Compile
from sims.errors import InvalidScenario, RunDirectoryError
from sims.metrics.evaluation import Evaluator
from sims.running.choice import simulation_of
from sims.running.fitting import exhaustion_named, require_memory
from sims.running.memory import check_disk, estimate_memory
from sims.running.options import require_options
from sims.running.records import RunDirectory
from sims.running.result import Progress, Result
from sims.running.runner import Runner
from sims.running.simulation import Simulation
from sims.scenario import Scenario, load_scenario
from sims.tracking.callback import Audience, Callback
from sims.tracking.names import callbacks_of
from sims.world import World, build_world
from sims.world.trace_cache import Traces

__all__ = ["SimulationMaker", "run"]


class SimulationMaker(Protocol):
    """Whoever sets up simulations."""

    def __call__(
        self, scenario: Scenario, world: World, *, threads: int, compile_when: Compile, device: str
    ) -> Simulation:
        """Set one up."""
        ...


def run(
    scenario: Scenario | Mapping[str, Any] | Path | str | None,
    *,
    out: Path | str | None = None,
    overrides: Sequence[str] = (),
    resume: bool = False,
    threads: int = 1,
    device: str = "cpu",
    compile_when: Compile = "auto",
    on_progress: Callable[[Progress], None] | None = None,
    interrupted: Callable[[], bool] = lambda: False,
    traces: Traces | None = None,
    simulated_by: SimulationMaker | None = None,
    data: Dataset | None = None,
    callbacks: Sequence[Callback | str] = (),
) -> Result:
    """Simulate a scenario.

    Parameters
    ----------
    scenario : Scenario, mapping or path
        A scenario, the tables of one, a TOML file, or the name of a ready-made scenario; None with ``resume``.
    out : path, optional
        Directory for the records; without it nothing is written.
    overrides : sequence of str
        Values that replace those of the file, each as ``"network.loss=0.2"``.
    resume : bool
        Continue the run in ``out`` from its last checkpoint, with the scenario it was started with.
    threads : int
        Cores to use; results do not depend on it beyond rounding.
    device : str
        ``"cpu"``, ``"cuda"`` or any torch device.
    compile_when : {'auto', 'always', 'never'}
        Whether to compile with the C++ compiler: when it saves time (never convolutions), always, or never.
    on_progress : callable, optional
    interrupted : callable, optional
        Called between windows or rounds; once it returns True the run stops as on Ctrl-C.
    traces : Traces, optional
        Traced programmes of earlier runs in this process; those of this one are added.
    simulated_by : callable, optional
        Sets up the simulation, of the arguments of `sims.running.choice.simulation_of`, and sees itself that there
        is memory for it: say in shards on a cluster.
    data : Dataset, optional
        What the task would read, if that has been read already; not with ``task.nodes``.
    callbacks : sequence of Callback or str
        Who hears of the run while it goes on: ``"tensorboard"``, ``"mlflow"``, ``"wandb"``, ``"module:name"`` or
        objects. One that fails is warned of, and the run goes on.

    Returns
    -------
    Result

    Raises
    ------
    SimulationError
        If the scenario is invalid, cannot be simulated, does not fit into memory, ``out`` cannot be used, or a
        callback is none.

    Notes
    -----
    On Ctrl-C (in the main thread) the run stops after the current window, writes its records and, with
    ``out``, a checkpoint, and returns with ``finished`` false.

    Examples
    --------
    >>> result = run("digits", overrides=["population.nodes=32", "stop.rounds=2", "evaluate.every=1"])
    >>> result.evaluations["round"].to_list()
    [0.0, 1.0, 2.0]
    """
    directory = None if out is None else RunDirectory(Path(out))
    require_options(threads, compile_when)
    device_of(device)
    beside = Path(scenario).parent if isinstance(scenario, (str, Path)) and Path(scenario).is_file() else None
    if resume:
        _refuse_another(scenario, overrides)
        scenario = _scenario_to_resume(directory)
    elif not isinstance(scenario, Scenario):
        scenario = load_scenario(_given(scenario), overrides=overrides)
    audience = Audience(callbacks_of(callbacks, beside=beside or scenario.modules))
    world = build_world(scenario, traces=traces, data=data)
    memory = estimate_memory(scenario, world, threads=threads, compile_when=compile_when)
    if simulated_by is None:
        require_memory(scenario, world, memory)
        check_disk(memory, scenario.engine.paged_to)
    with exhaustion_named(memory):
        simulation = (simulated_by or simulation_of)(
            scenario, world, threads=threads, compile_when=compile_when, device=device
        )
        measured = scenario.evaluate.nodes or scenario.population.nodes
        evaluator = Evaluator(
            world,
            expected_rows=measured * (scenario.stop.rounds / scenario.evaluate.every + 1),
            threads=threads,
            compile_when=compile_when,
            device=device,
        )
        try:
            runner = Runner(
                scenario,
                world,
                simulation,
                evaluator,
                directory,
                simulation.memory or memory,
                on_progress,
                interrupted,
                audience,
            )
            if directory is not None and not resume:
                directory.create(scenario)
            elif directory is not None:
                runner.restore(directory)
            return runner.run()
        finally:
            simulation.close()
            evaluator.close()


def _refuse_another(scenario: object, overrides: Sequence[str]) -> None:
    if scenario is not None or overrides:
        raise RunDirectoryError(
            "a resumed run continues with the scenario it was started with",
            got=", ".join(map(str, overrides)) or "another scenario",
            remedy="Leave the scenario and its overrides out, or start another run in another directory.",
        )


def _given(scenario: Mapping[str, Any] | Path | str | None) -> Mapping[str, Any] | Path | str:
    if scenario is None:
        raise InvalidScenario(
            "there is no scenario to run",
            remedy="Name a TOML file or a ready-made one (`gossipfl sim scenarios`), or resume an earlier run.",
        )
    return scenario


def _scenario_to_resume(directory: RunDirectory | None) -> Scenario:
    if directory is None:
        raise RunDirectoryError("there is nothing to resume without a directory", remedy="Give `out`.")
    file = directory.path / "scenario.toml"
    if not file.is_file():
        raise RunDirectoryError(
            f"{directory.path} holds no run", remedy="Start one there first, without --resume."
        )
    if directory.is_finished():
        raise RunDirectoryError(
            f"{directory.path} holds a finished run: there is nothing to resume",
            remedy="Read its records, or start another run in another directory.",
        )
    return load_scenario(file)
