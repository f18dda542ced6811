"""Classes from a table of one's own, scaled by the common statistics of all members."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from gossipfl.errors import InvalidTask
from gossipfl.layout import SharePolicy
from gossipfl.statistics import CommonStatistics, TableSchema, load_schema
from gossipfl.tasks.dataset import Dataset
from gossipfl.tasks.table_rows import classes_of, encoded, read_rows, width_of
from gossipfl.tasks.task import Task

__all__ = ["table"]


class Classifier(nn.Module):
    """A linear classifier, or one with a hidden layer."""

    def __init__(self, inputs: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU()) if hidden else nn.Identity()
        self.output = nn.Linear(hidden or inputs, classes)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Scores of the classes, ``[S, classes]``."""
        scores: torch.Tensor = self.output(self.hidden(inputs))
        return scores


def table(
    *,
    schema: Path,
    file: Path,
    stats: Path,
    hidden: int = 0,
    own_bias: bool = False,
    folds: int = 5,
    fold: int = 0,
    seed: int = 0,
) -> Task:
    """Make the task of a table in a CSV file.

    Parameters
    ----------
    schema : Path
        Schema of the table: a TOML file, the same at all members (`gossipfl.statistics.TableSchema`).
    file : Path
        CSV file of this member's rows.
    stats : Path
        Common statistics that ``gossipfl stats gather`` wrote.
    hidden : int
        Width of a hidden layer; 0 for a linear model.
    own_bias : bool
        Whether each member keeps its own bias of the classes, which differ in frequency between members.
    folds, fold : int
        One of so many parts of the rows, drawn by the seed, is for testing.

    Raises
    ------
    StatisticsMissing
        They have not been gathered yet.
    InvalidTask
        An option is wrong, or the statistics are of another schema.
    """
    read = load_schema(schema)
    if not 0 <= fold < folds or folds < 2 or hidden < 0:
        raise InvalidTask(
            "the options of a table are wrong",
            expected="hidden >= 0 and 0 <= fold < folds, of two or more",
            got=f"hidden {hidden}, fold {fold} of {folds}",
        )
    statistics = CommonStatistics.load(stats)
    if statistics.schema.digest != read.digest:
        raise InvalidTask(
            f"the common statistics in {stats} are of another schema",
            expected=f"those of {schema}",
            remedy="Gather them again, with one schema at all members: gossipfl stats gather.",
        )
    classes = 2 if read.rule is not None else len(read.classes)
    return Task(
        name=read.name,
        model=partial(Classifier, width_of(statistics), hidden, classes),
        data=partial(_split, file, statistics, folds=folds, fold=fold, seed=seed),
        share=SharePolicy(local=("output.bias",) if own_bias else ()),
        seed=seed,
        statistics=statistics.digest,
    )


def _split(file: Path, statistics: CommonStatistics, *, folds: int, fold: int, seed: int) -> Dataset:
    schema: TableSchema = statistics.schema
    rows = read_rows(file, schema)
    known = [
        (row, label) for row, label in zip(rows, classes_of(rows, schema), strict=True) if label is not None
    ]
    order = np.random.Generator(np.random.Philox(seed)).permutation(len(known))
    is_test = torch.from_numpy(order % folds == fold)
    if not is_test.any() or is_test.all():
        raise InvalidTask(
            f"the table {file} has too few rows with a label",
            expected=f"at least {folds}, for {folds} folds",
            got=len(known),
        )
    inputs = encoded([row for row, _ in known], statistics)
    targets = torch.tensor([label for _, label in known])
    return Dataset(
        train_inputs=inputs[~is_test],
        train_targets=targets[~is_test],
        test_inputs=inputs[is_test],
        test_targets=targets[is_test],
    )
