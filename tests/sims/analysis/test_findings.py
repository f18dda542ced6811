"""Groups, comparisons, and the sentences that state what was found."""

import math
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import tomli_w
import torch

import sims
from sims.analysis import Questions, analyse, findings, load_runs
from sims.analysis.comparison.findings import paired_values
from sims.analysis.comparison.grouping import group_runs, named_group
from sims.analysis.errors import (
    DifferentTasks,
    TargetNotReached,
    UnknownGroup,
    UnknownMetric,
    UnknownPooled,
)
from sims.analysis.measures import pooled
from sims.analysis.measures.pooled import pooled_choice
from sims.analysis.runs.problem import problem_of
from sims.sweeping import parse_sweep
from tests.sims.analysis.made import made, simulated

QUIET = Questions(pooled="none", theory=False)


def ramps(label, speed, seeds, *, wobble=0.0):
    """Runs whose accuracy rises by ``speed`` a round to 0.98, a little differently for each seed."""
    generator = np.random.default_rng(0)
    return [
        made(
            np.minimum(0.98, 0.1 + speed * (1 + wobble * generator.uniform(-1, 1)) * np.arange(20.0)),
            seed=seed,
            label=label,
        )
        for seed in seeds
    ]


def test_runs_that_differ_in_their_seeds_are_one_group():
    groups = group_runs([*ramps("MU", 0.1, (2, 0, 1)), *ramps("RW", 0.05, (0, 1))])
    assert [group.label for group in groups] == ["merge=MU", "merge=RW"]
    assert groups[0].seeds == (0, 1, 2)


def test_a_single_group_has_the_name_of_its_scenario():
    assert [group.label for group in group_runs(ramps("MU", 0.1, (0, 1)))] == ["MU"]


def test_runs_of_a_sweep_keep_the_labels_of_its_variants(tmp_path):
    table = {
        "scenario": {
            "population": {"nodes": 4},
            "task": {"name": "tests.sims.worlds:blobs"},
            "algorithm": {"name": "d_psgd"},
            "stop": {"rounds": 1},
        },
        "seeds": [1],
        "grid": {"training.batch_size": [2, 4]},
        "variant": [
            {"label": "calm", "training.learning_rate": 0.1, "training.momentum": 0.0},
            {"label": "bold", "training.learning_rate": 0.5, "training.momentum": 0.9},
        ],
    }
    sims.sweep(parse_sweep(tomli_w.dumps(table)), out=tmp_path / "out", jobs=1, compile_when="never")
    groups = group_runs(load_runs([tmp_path / "out"]))
    labels = {f"{name}, batch_size={size}" for name in ("calm", "bold") for size in (2, 4)}
    assert {group.label for group in groups} == labels


def test_the_worst_node_is_known_from_the_evaluations_where_no_models_were_kept(tmp_path):
    run = load_runs([simulated(tmp_path / "run", "output.rows=false")])[0]
    (measured,) = analyse([run], replace(QUIET, pooled="0.9")).runs
    assert not len(measured.nodes)
    assert measured.worst == run.curves["accuracy_min"][-1]
    assert measured.gap == pytest.approx(0.9 - measured.worst)
    (measured,) = analyse([run], replace(QUIET, metric="loss")).runs
    assert measured.worst == run.curves["loss_max"][-1]


def test_groups_are_called_by_what_differs():
    runs = [
        replace(
            made([0.1, 0.2]), configuration={"algorithm.name": name, "network.loss": loss, "training.x": 1}
        )
        for name in ("d_psgd", "choco")
        for loss in (0.0, 0.25)
    ]
    assert [group.label for group in group_runs(runs)] == [
        "d_psgd, loss=0",
        "d_psgd, loss=0.25",
        "choco, loss=0",
        "choco, loss=0.25",
    ]


def test_peers_and_their_twin_are_told_apart():
    peers = replace(made([0.1, 0.2]), source="peers", configuration={"algorithm.merge": "MU"})
    assert [group.label for group in group_runs([peers, made([0.1, 0.2])])] == ["real peers", "simulated"]


def test_a_group_is_named_by_part_of_its_label():
    groups = group_runs([*ramps("MU", 0.1, (0,)), *ramps("RW", 0.05, (0,))])
    assert named_group(groups, "rw").label == "merge=RW"
    assert named_group(groups, None).label == "merge=MU"
    for wrong in ("merge", "UM"):
        with pytest.raises(UnknownGroup, match=r"merge=MU.*merge=RW"):
            named_group(groups, wrong)


def test_pairs_have_the_same_seed():
    first, second = (
        analyse(runs, QUIET).groups[0] for runs in (ramps("a", 0.1, (1, 2, 3)), ramps("b", 0.1, (3, 1, 7)))
    )
    a, b = paired_values(first, second, np.array([1.0, 2.0, 3.0]), np.array([10.0, 30.0, 70.0]))
    assert a.tolist() == [1.0, 3.0]
    assert b.tolist() == [10.0, 30.0]


def test_the_finding_states_ratio_interval_seeds_and_test():
    runs = [*ramps("RW", 0.05, range(6), wobble=0.05), *ramps("MU", 0.1, range(6), wobble=0.02)]
    said = findings(analyse(runs, replace(QUIET, target=0.5)))
    (sentence,) = [each for each in said if "sooner" in each]
    found = re.fullmatch(
        r"merge=MU reaches 50 % accuracy (\S+) times sooner than merge=RW in rounds "
        r"\(95 % interval (\S+)–(\S+), 6 seeds, paired permutation p = 0\.031, Wilcoxon p = 0\.031, "
        r"effect size d = \S+\)\.",
        sentence,
    )
    times, low, high = map(float, found.groups())
    assert low < times < high
    assert times == pytest.approx(2, abs=0.15)


def test_too_few_seeds_are_said_to_be_too_few():
    runs = [*ramps("RW", 0.05, range(3), wobble=0.05), *ramps("MU", 0.1, range(3), wobble=0.05)]
    (sentence,) = [each for each in findings(analyse(runs, replace(QUIET, target=0.5))) if "sooner" in each]
    assert "3 seeds cannot give a p below 0.25: run more before claiming it." in sentence
    one = [*ramps("RW", 0.05, (0,)), *ramps("MU", 0.1, (0,))]
    (sentence,) = [each for each in findings(analyse(one, replace(QUIET, target=0.5))) if "sooner" in each]
    assert sentence.endswith("in rounds (1 seed, so chance cannot be ruled out).")
    assert "interval" not in sentence


def test_what_may_be_chance_is_called_that():
    runs = [*ramps("a", 0.1, range(8), wobble=0.2), *ramps("b", 0.1, range(8), wobble=0.2)]
    shuffled = [replace(run, seed=(run.seed + 3) % 8) if run.name == "b" else run for run in runs]
    said = findings(analyse(shuffled, replace(QUIET, target=0.5)))
    assert any("This may be due to chance." in each or "as soon as" in each for each in said)


def test_several_comparisons_are_corrected():
    runs = [
        run for label, speed in (("a", 0.05), ("b", 0.1), ("c", 0.2)) for run in ramps(label, speed, range(6))
    ]
    said = [each for each in findings(analyse(runs, replace(QUIET, target=0.5))) if "sooner" in each]
    assert len(said) == 2
    assert all("0.062 after Holm's correction for 2 comparisons" in each for each in said)


def test_runs_that_never_reach_the_target_are_counted():
    slow = [*ramps("slow", 0.03, (0, 1)), *ramps("slow", 0.01, (2,))]
    analysis = analyse([*slow, *ramps("quick", 0.1, (0, 1, 2))], replace(QUIET, target=0.5))
    said = findings(analysis)
    assert any("50 % accuracy was reached by 2 of 3 runs" in each for each in said)
    assert any("leaving out 2 runs" in each for each in said)
    assert analysis.groups[0].reached == 2


def test_a_group_that_never_reaches_it_is_not_compared():
    runs = [*ramps("slow", 0.01, (0, 1)), *ramps("quick", 0.1, (0, 1))]
    said = findings(analyse(runs, replace(QUIET, target=0.5)))
    assert any("cannot be compared at 50 % accuracy: merge=slow never reached it." in each for each in said)
    assert any("50 % accuracy was never reached" in each for each in said)


def test_groups_without_a_common_seed():
    said = findings(
        analyse([*ramps("a", 0.05, (0, 1)), *ramps("b", 0.1, (2, 3))], replace(QUIET, target=0.5))
    )
    assert any("no seed at which both reached it is common" in each for each in said)
    assert any("have no seed in common" in each for each in said)


def test_bad_questions_are_named():
    runs = ramps("a", 0.03, (0,))
    with pytest.raises(TargetNotReached, match=r"no run reached accuracy 0.9.*0.67 at best"):
        analyse(runs, replace(QUIET, target=0.9))
    with pytest.raises(UnknownMetric, match=r"'f1'.*accuracy, loss"):
        analyse(runs, replace(QUIET, metric="f1"))
    with pytest.raises(UnknownGroup):
        analyse(runs, replace(QUIET, baseline="b"))
    with pytest.raises(UnknownPooled, match="maybe"):
        analyse(runs, replace(QUIET, pooled="maybe"))


def test_different_tasks_are_not_compared():
    other = replace(made([0.1, 0.2]), task="spambase")
    with pytest.raises(DifferentTasks, match="spambase"):
        analyse([made([0.1, 0.2]), other], QUIET)
    fewer = made([0.1, 0.2])
    fewer = replace(fewer, curves=fewer.curves.select(c for c in fewer.curves.columns if "accuracy" not in c))
    with pytest.raises(DifferentTasks, match="measured different things"):
        analyse([made([0.1, 0.2]), fewer], QUIET)


def test_a_task_that_cannot_be_made_leaves_what_the_records_say():
    (measured,) = analyse(ramps("a", 0.05, (0,)), Questions()).runs
    assert measured.mean_of_models == pytest.approx(0.98)
    assert measured.worst == pytest.approx(0.97)
    assert any("cannot be made here" in note for note in measured.notes)


def test_losses_are_better_the_lower():
    questions = replace(QUIET, metric="loss", target=0.5)
    said = findings(analyse([*ramps("slow", 0.05, (0,)), *ramps("quick", 0.1, (0,))], questions))
    assert any(each.startswith("merge=quick reaches 0.5 loss 2 times sooner") for each in said)


def test_gap_to_a_given_figure():
    runs = ramps("a", 0.02, (0,))
    (measured,) = analyse(runs, replace(QUIET, pooled="0.9")).runs
    worst = 0.1 + 0.02 * 19 - 0.01
    assert measured.gap == pytest.approx(0.9 - worst)
    (measured,) = analyse(runs, replace(QUIET, metric="loss", pooled="0.1")).runs
    assert measured.gap == pytest.approx((1 - worst) - 0.1)
    assert pooled_choice("none", "accuracy").values == {}
    assert pooled_choice("train", "accuracy") is None


def test_peers_are_placed_within_or_outside_the_range_of_their_twins():
    twins = [replace(run, source="simulator") for run in ramps("a", 0.1, range(4), wobble=0.1)]
    slow = replace(made(0.1 + 0.045 * np.arange(20.0)), source="peers", configuration={})
    like = replace(made(twins[0].column("accuracy_mean")), source="peers", configuration={})
    said = findings(analyse([slow, *twins], replace(QUIET, target=0.5)))
    (sentence,) = [each for each in said if "outside" in each and "after" in each]
    assert sentence.startswith(
        "real peers reach 50 % accuracy after 8.89 s, outside the range of 4 seeds of simulated"
    )
    said = findings(analyse([like, *twins], replace(QUIET, target=0.5)))
    assert sum(", within the range of 4 seeds of simulated" in each for each in said) == 2
    said = findings(analyse([slow, *twins[:2]], replace(QUIET, target=0.5)))
    assert not [each for each in said if "the range of" in each]


def test_pooled_training_is_done_once_for_runs_that_learn_alike(two_algorithms, monkeypatch):
    trained = []

    def counted(run, problem):
        trained.append(run.path.name)
        return original(run, problem)

    original = pooled.train_pooled
    monkeypatch.setattr(pooled, "train_pooled", counted)
    runs = load_runs([two_algorithms])
    found = pooled.pooled_for_all(runs)
    assert len(trained) == 1
    assert {id(run) for run in runs} == set(found)
    faster = replace(runs[0], training=runs[0].training.model_copy(update={"learning_rate": 0.7}))
    pooled.pooled_for_all([*runs, faster])
    assert len(trained) == 2
    other = replace(runs[0], training=runs[0].training.model_copy(update={"batch_size": 3}))
    pooled.pooled_for_all([*runs, other])
    assert len(trained) == 4


def test_one_home_alone_is_compared_with_no_pooled_training(two_algorithms, monkeypatch):
    monkeypatch.setattr(pooled, "train_pooled", lambda run, problem: pooled.Pooled(values={}, source="here"))
    run = load_runs([two_algorithms])[0]
    assert pooled.pooled_for_all([run])
    assert pooled.pooled_for_all([replace(run, labels=run.labels[:1])]) == {}


def test_pooled_training_has_a_step_size_of_its_own(two_algorithms):
    """A network that learned with far too small or too large steps is compared with the same pooled model."""
    run = load_runs([two_algorithms])[0]
    problem = problem_of(run)
    rates, figures = [], []
    for factor in (0.01, 1.0, 30.0):
        settings = run.training.model_copy(update={"learning_rate": run.training.learning_rate * factor})
        found = pooled.train_pooled(replace(run, training=settings), problem)
        rates.append(float(re.search(r"steps of ([\d.e+-]+)", found.source)[1]))
        figures.append(found.values["accuracy"])
        assert 0 <= found.within["accuracy"] < 0.2
    assert max(rates) / min(rates) < 10
    assert max(figures) - min(figures) < 0.05


def test_pooled_training_chooses_the_step_size_that_does_best_on_samples_it_has_not_seen(monkeypatch):
    """The rates tried are thirds and threefolds, while the best is at an end; losses are those on a tenth."""
    run, tried = made([0.1]), []
    task = SimpleNamespace(evaluate=lambda rows, inputs, targets: {"loss": rows[:, 0]})
    data = SimpleNamespace(inputs=torch.zeros(40, 1), targets=torch.zeros(40))
    problem = SimpleNamespace(task=task, data=data)

    def trained(run, problem, samples, *, steps, rate):
        tried.append((round(rate / run.training.learning_rate, 6), len(samples[0])))
        return torch.tensor([[abs(math.log(rate / run.training.learning_rate / 81))]])

    monkeypatch.setattr(pooled, "_trained", trained)
    best = pooled._best_rate(run, problem, np.arange(40), steps=5)
    assert best / run.training.learning_rate == pytest.approx(81)
    assert [factor for factor, _ in tried] == pytest.approx([1, 1 / 3, 3, 9, 27, 81, 243], abs=1e-5)
    assert {count for _, count in tried} == {36}
