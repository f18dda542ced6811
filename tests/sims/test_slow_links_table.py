"""The tables of methods for slow links: which runs are left to do, and what is said of those that are done."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

DOCS, EXAMPLES = (Path(__file__).parents[2] / each for each in ("docs", "examples"))


@pytest.fixture(scope="module")
def maker():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DOCS))
        import make_slow_links_table

        yield make_slow_links_table


def run(method, rate, seed, loss, **others):
    made = {
        "task": "short",
        "method": method,
        "rate": rate,
        "seed": seed,
        "steps": 400,
        "loss": loss,
        "worst": loss,
    }
    return {**made, "own": [3.0, 5.0], "bytes": 4000.0, **others}


def results_of(maker, file, runs, *, trials=4, seeds=(0, 1, 2)):
    file.write_text("".join(json.dumps(each) + "\n" for each in runs))
    return maker.Results(file, trials=trials, seeds=list(seeds))


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ({}, 0.003),
        ({0.003: 2.0}, 0.001),
        ({0.003: 2.0, 0.001: 1.9, 0.01: 3.0}, 0.0003),
        ({0.003: 2.0, 0.001: 1.9, 0.01: 3.0, 0.0003: 1.8}, 0.0001),
        ({0.003: 2.0, 0.001: 2.1, 0.01: 1.9}, 0.03),
        ({0.003: 1.9, 0.001: 2.1, 0.01: 2.0}, 0.0055),
        ({0.003: 1.9, 0.001: 2.0, 0.01: 2.1}, 0.0017),
    ],
)
def test_step_sizes_go_beyond_the_edge_and_then_between(maker, losses, expected):
    assert maker.next_rate(losses) == expected


def test_what_was_done_is_not_done_again(maker, tmp_path):
    method = "NoLoCo, pairs"
    losses = {0.003: 2.0, 0.001: 1.9, 0.01: 3.0, 0.0003: 2.2}
    runs: list = []
    while True:
        left = list(results_of(maker, tmp_path / "runs.jsonl", runs).todo(["short"], [method]))
        if not left:
            break
        _, name, rate, seed = left[0]
        assert (rate, seed) not in {(each["rate"], each["seed"]) for each in runs}
        runs.append(run(name, rate, seed, losses[rate] + seed))
    assert [(each["rate"], each["seed"]) for each in runs] == [
        (0.003, 0), (0.001, 0), (0.01, 0), (0.0003, 0), (0.001, 1), (0.001, 2)
    ]  # fmt: skip


def test_step_sizes_of_another_setting_are_taken_when_all_were_tried_there(maker, tmp_path):
    method, there = "NoLoCo, pairs", "short, 64 nodes"
    tried = [run(method, rate, 0, loss) for rate, loss in ((0.003, 2.0), (0.001, 1.9))]

    def left(runs):
        return list(results_of(maker, tmp_path / "runs.jsonl", runs, trials=2).todo([there], [method]))

    assert left(tried[:1]) == []
    assert left(tried) == [(there, method, 0.001, seed) for seed in (0, 1, 2)]
    done = [*tried, run(method, 0.001, 0, 2.5, task=there), run(method, 0.003, 1, 2.4, task=there)]
    assert left(done) == [(there, method, 0.001, seed) for seed in (1, 2)]
    done.append({"task": there, "method": method, "worlds": list(maker.WORLDS), "seconds": [1.0] * 4})
    results = results_of(maker, tmp_path / "runs.jsonl", done, trials=2)
    assert "| 0.001, as of short | 2.500 |" in maker.line(results, there, method)
    assert f"| {there} | 17 | as of short | 1 of 51 |" in maker.state(results)


def test_failures_are_kept_in_the_file_and_not_counted(maker, tmp_path):
    results = results_of(maker, tmp_path / "runs.jsonl", [{"error": "out of memory", "run": []}])
    results.add({"error": "again", "run": []})
    assert results.runs == []
    assert len((tmp_path / "runs.jsonl").read_text().splitlines()) == 2


def test_a_line_says_what_was_seen(maker, tmp_path):
    own, yardstick = "NoLoCo, pairs", maker.DILOCO
    runs = [run(name, rate, 0, loss) for name, loss in ((own, 2.5), (yardstick, 2.0)) for rate in (0.003,)]
    runs += [run(name, 0.003, seed, loss) for name, seed, loss in ((own, 1, 2.6), (yardstick, 1, 2.12))]
    runs.append(
        {"task": "short", "method": own, "worlds": list(maker.WORLDS), "seconds": [1.0, 2.0, 3.0, 4.0]}
    )
    results = results_of(maker, tmp_path / "runs.jsonl", runs, trials=1, seeds=(0, 1))
    line = maker.line(results, "short", own)
    deviation = 0.1 / 2**0.5
    assert f"2.550 ± {12.7062 * deviation / 2**0.5:.3f}" in line
    assert f"0.490 ± {12.7062 * 0.02 / 2:.3f}" in line  # in pairs of seeds
    assert "0.003 of 1, edge" in line
    assert "3.00 … 5.00 | 2 | 0.01 | 1 | 2 | 3 | 4 |" in line


def test_loss_against_bytes_is_of_those_that_beat_all_that_send_less(maker, tmp_path):
    sent = {
        "NoLoCo, pairs": (20.0, 2.5),
        "GASLoC, γ = 0.3, η = 1, pairs": (20.0, 2.6),
        maker.DILOCO: (40.0, 2.4),
    }
    sent |= {"SAPS, 10 %, pairs": (60.0, 2.45), maker.ALONE: (0.1, 2.9)}
    runs = [run(name, 0.003, 0, loss, bytes=400_000 * size) for name, (size, loss) in sent.items()]
    results = results_of(maker, tmp_path / "runs.jsonl", runs, trials=1, seeds=(0,))
    assert maker.against_bytes(results, "short").splitlines()[2:] == [
        f"| 0 |  | 2.900 | {maker.ALONE} |",
        "| 20 | 1/2 | 2.500 | NoLoCo, pairs |",
        f"| 40 | 1 | 2.400 | {maker.DILOCO} |",
    ]


def test_the_better_diloco_is_the_yardstick(maker, tmp_path):
    for others, expected in (({}, maker.PLAIN_DILOCO), ({maker.DILOCO: 2.0}, maker.DILOCO)):
        losses = {maker.PLAIN_DILOCO: 2.1, **others}
        runs = [run(name, 0.003, 0, loss) for name, loss in losses.items()]
        results = results_of(maker, tmp_path / "runs.jsonl", runs, trials=1, seeds=(0,))
        assert maker.yardstick_of(results, "short") == expected
    absent = [
        run("SAPS, 10 %, pairs", 0.003, 0, loss, task=task)
        for task, loss in (("short", 2.0), ("short, 20 % absent", 2.2))
    ]
    results = results_of(maker, tmp_path / "runs.jsonl", absent, trials=1, seeds=(0,))
    assert maker.yardstick_of(results, "short, 20 % absent") == "SAPS, 10 %, pairs"


def test_what_was_not_run_is_said_so(maker, tmp_path):
    results = results_of(maker, tmp_path / "runs.jsonl", [])
    assert "not run" in maker.line(results, "short, 20 % absent", "NoLoCo, pairs")
    state = maker.state(results)
    assert state.count("not run") == len(maker.SETTINGS)


def test_absent_nodes_are_for_methods_that_can_be_without_them(maker):
    able = set(maker.SETTINGS["short, 20 % absent"].able())
    assert "NoLoCo, pairs" in able
    assert maker.DILOCO not in able


def test_seeds_are_of_models_batches_and_partners(maker):
    made = [
        maker.SETTINGS["words"].tables(maker.METHODS["NoLoCo, pairs"], rate=0.001, seed=seed)
        for seed in (1, 2)
    ]
    for one, seed in zip(made, (1, 2), strict=True):
        assert one["seed"] == one["training"]["seed"] == one["task"]["options"]["seed"] == seed


def test_all_methods_have_one_schedule_that_ends_with_their_last_step(maker):
    import torch

    from gossipfl.training.settings import learning_rates
    from sims.scenario import load_scenario

    for name in maker.SETTINGS["short"].able():
        made = maker.SETTINGS["short"].tables(maker.METHODS[name], rate=0.01, seed=0)
        training = load_scenario(made).training
        steps = made["stop"]["rounds"] * training.local_steps
        rates = learning_rates(torch.tensor([0, 19, 320, 360, steps]), training).tolist()
        assert rates == pytest.approx([0.01 / 20, 0.01, 0.01, 0.005, 0.0])


def test_one_setting_has_constant_step_sizes_and_is_otherwise_the_same(maker):
    settings = [maker.SETTINGS[name] for name in ("short", "short, constant step sizes")]
    made = [each.tables(maker.METHODS["NoLoCo, pairs"], rate=0.01, seed=0) for each in settings]
    dropped = {"schedule", "clock", "warm_up", "decay_share", "decay_age", "final_fraction"}
    assert set(made[0]["training"]) - set(made[1]["training"]) == dropped
    made[0]["training"] = {key: made[0]["training"][key] for key in made[1]["training"]}
    assert made[0] == made[1]


def test_what_is_said_to_send_an_eighth_or_a_fiftieth_does(maker):
    """Bits of a number that is sent, beside 2 · 32 of an all-reduce, at equal steps."""
    for name, least, most in (
        ("NoLoCo, η = 1, μ = 0, 2 bits, H = 5, base graph", 8, 8),
        ("NoLoCo, η = 1, μ = 0, 50 % in 2 bits, H = 5, base graph", 16, 16),
        ("NoLoCo, η = 1, μ = 0, 60 % in 2 bits, base graph", 50, 54),
        ("NoLoCo, η = 1, μ = 0, 60 % in 2 bits, pairs", 50, 54),
    ):
        method, whole = maker.METHODS[name], maker.METHODS[maker.DILOCO]
        bits = method.parameters["bits"] * method.parameters.get("share", 1.0) / method.local
        assert least <= 64 / whole.local / bits <= most


def test_failed_runs_are_not_tried_again_and_others_go_on(maker, tmp_path, monkeypatch):
    """In one process, with the others' results in the file as they end."""
    from argparse import Namespace
    from concurrent.futures import ThreadPoolExecutor

    def measured(setting, method, rate, seed, **_):
        if rate == 0.001:
            raise ValueError("too small")
        return run(method, rate, seed, rate)

    monkeypatch.setattr(maker, "measured", measured)
    monkeypatch.setattr(maker, "ProcessPoolExecutor", ThreadPoolExecutor)
    results = results_of(maker, tmp_path / "runs.jsonl", [], trials=2, seeds=(0,))
    given = Namespace(settings=["short"], methods=["NoLoCo, pairs", maker.ALONE], processes=2, device="cpu")
    maker.run_all(results, given)
    lines = [json.loads(each) for each in (tmp_path / "runs.jsonl").read_text().splitlines()]
    assert sorted(each["method"] for each in lines if "error" not in each) == ["NoLoCo, pairs", maker.ALONE]
    assert sorted(each["run"][1] for each in lines if "error" in each) == ["NoLoCo, pairs", maker.ALONE]


def test_every_scenario_is_valid(maker):
    from sims.scenario import load_scenario

    for setting in maker.SETTINGS.values():
        for name in setting.able():
            load_scenario(setting.tables(maker.METHODS[name], rate=0.001, seed=0))


@pytest.mark.slow
def test_a_run_gives_the_perplexity_of_each_author_by_its_own_model(maker, monkeypatch):
    monkeypatch.chdir(EXAMPLES)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    babble = {"text": "", "size": "tiny", "length": 16, "each": 20}
    tiny = replace(maker.SETTINGS["short"], options=babble, nodes=4, steps=20)
    monkeypatch.setitem(maker.SETTINGS, "tiny", tiny)
    found = maker.measured(
        "tiny", "NoLoCo, η = 1, μ = 0, 60 % in 2 bits, pairs", 0.003, 0, device="cpu", share=1.0
    )
    assert len(found["own"]) == 4
    assert all(1 < each < 96 for each in found["own"])
    for hard, method in (
        ({"absent": 0.2}, "NoLoCo, pairs"),
        ({"speeds": 0.5}, "NoLoCo, weights by steps, pairs"),
    ):
        monkeypatch.setitem(maker.SETTINGS, "hard", replace(tiny, **hard))
        assert method in maker.SETTINGS["hard"].able()
        other = maker.measured("hard", method, 0.003, 0, device="cpu", share=1.0)
        assert other["loss"] > 0
        assert other["loss"] != found["loss"]
    seconds = maker.seconds_a_step("tiny", "NoLoCo, pairs", rounds=2)
    assert seconds[0] == pytest.approx(maker.STEP_SECONDS, rel=0.2)
    assert seconds[1] >= seconds[0]
