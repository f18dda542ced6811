"""Sweeps as validated values, read from TOML."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import Field, field_validator, model_validator

from gossipfl.settings.table import Table
from sims.errors import InvalidScenario, InvalidSweep
from sims.scenario.ready_made import SCENARIOS, parsed, read_toml
from sims.scenario.tables import modules_of, topology_table
from sims.scenario.text import load_table
from sims.sweeping.keys import flattened
from topology.errors import TopologyError

__all__ = [
    "Choice",
    "Distribution",
    "Integer",
    "LogUniform",
    "RandomSearch",
    "Sweep",
    "Tune",
    "Uniform",
    "load_sweep",
    "parse_sweep",
]


class _Section(Table):
    _wrong = InvalidSweep


class _Range(_Section):
    low: float = Field(description="lower bound")
    high: float = Field(description="upper bound")

    @model_validator(mode="after")
    def _ordered(self) -> _Range:
        if not self.low < self.high:
            raise ValueError(f"low ({self.low}) must be below high ({self.high})")
        return self


class Uniform(_Range):
    """Uniform between two bounds."""

    distribution: Literal["uniform"]


class LogUniform(_Range):
    """Uniform in the logarithm: as many draws between 0.01 and 0.1 as between 0.1 and 1."""

    distribution: Literal["log-uniform"]
    low: float = Field(gt=0, description="lower bound")


class Integer(_Range):
    """Uniform over whole numbers, both bounds included."""

    distribution: Literal["int"]
    low: int = Field(description="smallest value")
    high: int = Field(description="largest value")


class Choice(_Section):
    """One of some values, each as likely as the others; whole tables are allowed."""

    distribution: Literal["choice"]
    values: tuple[Any, ...] = Field(min_length=1, description="values to draw from")


Distribution = Annotated[Uniform | LogUniform | Integer | Choice, Field(discriminator="distribution")]


def _is_distribution(table: Mapping[str, Any]) -> bool:
    return "distribution" in table or not any(isinstance(value, Mapping) for value in table.values())


class RandomSearch(_Section):
    """Points drawn at random; draw k is the same however many are drawn."""

    draws: int = Field(ge=1, le=100_000, description="number of points")
    seed: int = Field(0, ge=0, description="seed of the draws")
    keys: dict[str, Distribution] = Field(min_length=1, description="scenario keys and their distributions")

    @field_validator("keys", mode="before")
    @classmethod
    def _dotted(cls, values: Any) -> Any:
        return flattened(values, until=_is_distribution)


class Tune(_Section):
    """Search of a step size, the same budget for every point, before the runs that are reported."""

    key: str = Field("training.learning_rate", description="the scenario key to choose, a positive number")
    around: float | None = Field(None, gt=0, description="where to start; the scenario's own value if unset")
    ratio: float = Field(4.0, ge=1.1, description="between neighbouring values of the first, coarse grid")
    values: int = Field(7, ge=3, le=20, description="the budget: how many values are tried at every point")
    seeds: tuple[int, ...] = Field((1001,), min_length=1, description="of the trials; disjoint from `seeds`")
    validation: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="share of the training samples that trials are measured on; 0 for the test samples",
    )


class Sweep(_Section):
    """One scenario, the values to try in it, and the metric to compare.

    Examples
    --------
    >>> Sweep(scenario="digits", seeds=(1, 2)).metric
    'accuracy_mean'
    """

    name: str = Field("sweep", description="label in records and reports")
    scenario: dict[str, Any] | str = Field(description="a TOML file, a ready-made name, or a whole scenario")
    seeds: tuple[int, ...] = Field((1, 2, 3), min_length=1, description="every point is run with each")
    seed_keys: tuple[str, ...] = Field(
        ("seed", "training.seed"), min_length=1, description="scenario keys that are set to the seed"
    )
    metric: str = Field("accuracy_mean", description="column of the evaluations that points are compared by")
    direction: Literal["maximise", "minimise"] = Field(
        "maximise", description="whether a larger metric is better, or a smaller one"
    )
    measure: Literal["final", "best"] = Field(
        "final", description="compare the metric at the end, or at its best evaluation"
    )
    confidence: float = Field(0.95, gt=0, lt=1, description="of the bootstrap intervals over seeds")
    impossible: Literal["error", "record"] = Field(
        "error",
        description="a point whose parts do not fit together: refuse the sweep, or record the refusal",
    )
    keep_rows: bool = Field(False, description="keep the final models of every run")
    set: dict[str, Any] = Field(default_factory=dict, description="values at all points")
    grid: dict[str, tuple[Any, ...]] = Field(
        default_factory=dict, description="values of each key; all combinations are run"
    )
    variant: tuple[dict[str, Any], ...] = Field(
        (), description="keys that go together under a label; each is combined with the whole grid"
    )
    random: RandomSearch | None = None
    tune: Tune | None = None

    @field_validator("set", mode="before")
    @classmethod
    def _set_dotted(cls, values: Any) -> Any:
        return flattened(values, until=lambda value: "name" in value or "kind" in value)

    @field_validator("grid", mode="before")
    @classmethod
    def _grid_dotted(cls, values: Any) -> Any:
        dotted = flattened(values)
        for key, value in dotted.items() if isinstance(dotted, dict) else ():
            if not isinstance(value, (list, tuple)) or not value:
                raise ValueError(f"{key}: expected a list of values to try")
        return dotted

    @field_validator("variant")
    @classmethod
    def _labelled(cls, values: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
        for number, value in enumerate(values):
            if not isinstance(value.get("label"), str):
                raise ValueError(f"variant {number + 1} needs a `label`, a string")  # noqa: TRY004
        return values

    @model_validator(mode="after")
    def _consistent(self) -> Sweep:
        for seeds, what in ((self.seeds, "seeds"), (self.tune.seeds if self.tune else (), "tune.seeds")):
            if len(set(seeds)) < len(seeds) or any(seed < 0 for seed in seeds):
                raise ValueError(f"{what}: expected different whole numbers from 0")
        if self.tune and (shared := set(self.seeds) & set(self.tune.seeds)):
            raise ValueError(
                f"tune.seeds: {sorted(shared)} are also among the seeds reported; "
                "a step size chosen on a run flatters that run"
            )
        if self.metric.startswith("loss") and "direction" not in self.model_fields_set:
            raise ValueError(f"direction: say whether to 'maximise' or 'minimise' {self.metric}")
        return self


def load_sweep(file: Path | str) -> Sweep:
    """Read a sweep.

    Parameters
    ----------
    file : path
        A TOML file, or the name of one of the ready-made sweeps.

    Raises
    ------
    InvalidSweep
        If the file is missing or wrong; the error names the line.
    InvalidScenario
        If the scenario it names cannot be read.

    Examples
    --------
    >>> load_sweep("algorithms").name
    'algorithms'
    """
    if not isinstance(file, (str, Path)):
        raise InvalidSweep(
            "this is no sweep",
            expected="a TOML file, the name of a ready-made sweep, or a mapping",
            got=type(file).__name__,
        )
    path, text = read_toml(file, kind="sweep", directory=SCENARIOS / "sweeps", error=InvalidSweep)
    return parse_sweep(text, source=str(path), directory=path.parent)


def parse_sweep(
    text: str | Mapping[str, Any], *, source: str = "sweep", directory: Path | None = None
) -> Sweep:
    """Read a sweep from the text of a TOML file, or from a table.

    Parameters
    ----------
    text : str or mapping
    source : str
        Its name in errors.
    directory : path, optional
        A scenario file that the sweep names is relative to this.

    Returns
    -------
    Sweep
        With its scenario as a table.

    Raises
    ------
    InvalidSweep, InvalidScenario

    Examples
    --------
    >>> table = {"scenario": "digits", "grid": {"training.learning_rate": [0.1, 0.3]}}
    >>> parse_sweep(table).grid
    {'training.learning_rate': (0.1, 0.3)}
    """
    if not isinstance(text, (str, Mapping)):
        raise InvalidSweep(
            "this is no sweep", expected="the text of a TOML file, or a mapping", got=type(text).__name__
        )
    if isinstance(text, str):
        table = parsed(text, source=source, error=InvalidSweep)
    else:
        table, text = dict(text), tomli_w.dumps(text)
    sweep = Sweep.from_file(table, source=source, text=text)
    directory = directory or Path()
    return sweep.model_copy(update={"scenario": _base(sweep, table, source=source, directory=directory)})


def _base(sweep: Sweep, table: Mapping[str, Any], *, source: str, directory: Path) -> dict[str, Any]:
    """The scenario as a table, which notes modules of the user's own that stand beside the sweep."""
    if isinstance(sweep.scenario, dict):
        base = dict(sweep.scenario)
        with suppress(TopologyError):  # each point is checked with its own settings
            if "topology" in base:
                base["topology"] = topology_table(base["topology"])
    else:
        beside = directory / sweep.scenario
        try:
            base = load_table(beside if beside.is_file() else sweep.scenario)
        except InvalidScenario as error:
            raise InvalidScenario(f"{source}: scenario: {error}") from error
    modules = modules_of(table, directory)
    return base if modules is None else {"modules": modules, **base}
