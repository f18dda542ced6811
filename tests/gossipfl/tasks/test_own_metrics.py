"""Metrics of one's own, by name, beside those of a task."""

from pathlib import Path

import pytest
import torch
from sklearn.metrics import recall_score

import sims
from gossipfl.errors import InvalidTask, UnknownTask
from gossipfl.tasks import find_task
from gossipfl.tasks.registry import METRICS_GROUP

EXAMPLES = Path(__file__).parents[3] / "examples"
NAME = "recall:macro_recall"


def test_it_is_evaluated_beside_the_task_s_own():
    task = find_task("digits", metrics=[NAME], directory=EXAMPLES)
    assert list(task.metrics) == ["accuracy", "macro_recall"]
    assert task.fingerprint != find_task("digits").fingerprint
    generator = torch.Generator().manual_seed(1)
    outputs, targets = (
        torch.randn(90, 4, generator=generator),
        torch.randint(0, 3, (90,), generator=generator),
    )
    found = float(task.metrics["macro_recall"](outputs, targets))
    expected = recall_score(targets, outputs.argmax(1), average="macro", labels=targets.unique())
    assert found == pytest.approx(expected)


def test_simulations_record_it(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    overrides = [f'task.metrics=["{NAME}"]', "stop.rounds=2", "evaluate.every=2", "topology.name=ring"]
    overrides += ["population.nodes=16", "evaluate.nodes=8"]
    result = sims.run("digits", overrides=overrides, compile_when="never")
    assert 0 <= result.evaluations["macro_recall_mean"][-1] <= 1


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("macro_recall", UnknownTask, "there is no metric 'macro_recall'; expected package.module:function"),
        ("recall:micro_recall", UnknownTask, "has no function 'micro_recall'.*recall:macro_recall"),
        ("nowhere:recall", UnknownTask, "there is no module 'nowhere'"),
    ],
)
def test_mistakes_are_named(name, error, words):
    with pytest.raises((error, InvalidTask), match=words):
        find_task("digits", metrics=[name], directory=EXAMPLES)


def test_an_installed_package_offers_it_by_a_plain_name(installed):
    source = (EXAMPLES / "recall.py").read_text(encoding="utf-8")
    offered = {"recall": "recalls:macro_recall", "broken": "nowhere:recall", "number": "recalls:NUMBER"}
    installed("recalls", f"{source}\nNUMBER = 3\n", {METRICS_GROUP: offered})
    task = find_task("digits", metrics=["recall"])
    assert list(task.metrics) == ["accuracy", "recall"]
    assert task.metrics["recall"].__name__ == "macro_recall"
    with pytest.raises(UnknownTask, match=r"expected recall or .*Did you mean 'recall'"):
        find_task("digits", metrics=["recal"])
    with pytest.raises(InvalidTask, match="'broken' of the installed nowhere:recall cannot be imported"):
        find_task("digits", metrics=["broken"])
    with pytest.raises(InvalidTask, match=r"'number' is not a metric; expected a function .*got int"):
        find_task("digits", metrics=["number"])
