"""The engine against the reference executor, which defines what a simulation means."""

import numpy as np
import pytest
import torch

from sims.compiler.operations import ON_RECEIPT
from sims.compiler.reference import Reference
from sims.compiler.timeline import Timeline
from sims.engine import Engine
from sims.engine.receiving import engine_of
from sims.engine.workers import Workers
from sims.world.receipts import receipts_of
from tests.sims.worlds import SECOND, conditions, small, world_of

ROUNDS = 6

GATE = "gate={radius=1.0,fair_shares=1.0,norm=1.1,loss=0.4,offences=2,quarantine=2.0,age_slack=1}"
GATED = {
    "merge and train": ["network.delay.seconds=0.3", "task.partition=shards:1"],
    "train and merge": ["algorithm.merge=UM", "algorithm.exchange=push-pull", "network.delay.seconds=0.7"],
    "random walk": ["algorithm.merge=RW", "network.delay.seconds=0.3", "training.step_seconds=0.4"],
    "partitions": ["algorithm.sharing={kind='partitioned',parts=3}", "algorithm.exchange=push-pull"],
    "subsamples": ["algorithm.sharing={kind='subsampled',parts=2}"],
    "AD-PSGD": ["algorithm.name=ad_psgd", "network.delay.seconds=0.3", "training.momentum=0.5"],
    "a codec": ["algorithm.codec=int8", "task.partition=shards:1", "network.delay.seconds=0.3"],
    "a personal head, tokens": [
        "task.options.model=personal",
        "algorithm.flow={kind='simple',capacity=3}",
        "training={clock='step',schedule='inverse'}",
    ],
    "dropout": ["task.options.model=dropout"],
    "private training": ["training.privacy={clip=0.5,noise_multiplier=0.3}", "network.delay.seconds=0.3"],
}

ATTACK = "attack={name='%s',share=0.25%s}"
ATTACKED = {
    "noise": [ATTACK % ("noise", ",from_round=2.0"), "network.delay.seconds=0.7"],
    "replay, pull": [
        ATTACK % ("replay", ",lag=3"),
        "algorithm.exchange=pull",
        "network.delay={kind='uniform',low=0.1,high=2.0}",
    ],
    "stale, slow training": [
        ATTACK % ("stale", ""),
        "training.step_seconds=0.4",
        "network.delay.seconds=0.3",
    ],
    "ALIE, of what was heard": [
        ATTACK % ("alie", ",factor=1.0,from_round=1.0"),
        "algorithm.exchange=push-pull",
        "network.delay={kind='uniform',low=0.1,high=2.0}",
    ],
    "inflated ages of parts": [
        ATTACK % ("age_inflation", ",of='first',factor=2.0,more=3"),
        "algorithm.sharing={kind='partitioned',parts=3}",
    ],
    "echo with AD-PSGD": [ATTACK % ("echo", ""), "algorithm.name=ad_psgd", "network.delay.seconds=0.3"],
    "random with push-sum": [ATTACK % ("random", ",from_round=1.0"), "algorithm.name=push_sum"],
    "flips and a gate": [ATTACK % ("sign_flip", ""), GATE, "topology=random-regular:degree=4"],
    "false ages, a codec and a gate": [
        ATTACK % ("age_inflation", ""),
        "algorithm.codec=int8",
        "gate={}",
        "topology=random-regular:degree=4",
        "network.delay.seconds=0.3",
    ],
    "false labels": [ATTACK % ("label_flip", "")],
}

ACCEPTED = {
    "norm": ["algorithm.acceptance={within='norm',radius=0.05}"],
    "norm, refusing, parts": [
        "algorithm.acceptance={within='norm',radius=0.1,beyond='refuse'}",
        "algorithm.sharing={kind='partitioned',parts=3}",
    ],
    "history": ["algorithm.acceptance={within='history',radius=1.1}", "algorithm.merge=UM"],
    "history, refusing": [
        "algorithm.acceptance={within='history',radius=1.1,beyond='refuse'}",
        "network.delay.seconds=0.7",
        "attack={name='noise',count=3}",
    ],
}

SETTINGS = {
    "merge and train": [],
    "random walk": ["algorithm.merge=RW"],
    "train and merge": ["algorithm.merge=UM"],
    "plain weights": ["algorithm.weighting=plain", "training.momentum=0.5", "training.local_steps=2"],
    "limited merge": ["algorithm.merge_limit=2", "network.loss=0.3", "network.jitter=0.5"],
    "delay and loss": [
        "network.loss=0.2",
        "network.delay={kind='lognormal',median=0.7,sigma=1.0}",
        "network.jitter=0.3",
    ],
    "pull": [
        "algorithm.exchange=pull",
        "network.delay={kind='uniform',low=0.1,high=2.0}",
        "network.loss=0.1",
    ],
    "push-pull": ["algorithm.exchange=push-pull", "network.delay.seconds=0.3"],
    "push-pull at once, together": ["algorithm.exchange=push-pull", "network.phase=together"],
    "slow uplinks and training": ["network.bandwidth=0.001", "training.step_seconds=0.4"],
    "home links that are slower at times": [
        "network.links={up=0.001,down=0.002,slow=0.25,changes=[{until=1,every=2.5,factor=0.3},"
        "{since=2,until=4,factor=0.5,nodes=[1,2,3]}]}",
        "network.delay.seconds=0.1",
    ],
    "sessions": [
        "churn.process={kind='sessions',online={median=3.0,spread=0.5},day=10.0,night=0.6,"
        "offline={distribution='weibull',median=1.0,spread=0.7}}",
        "network.choose=online",
    ],
    "cycles and plans": [
        "churn.process={kind='cycle',offline=0.3}",
        "churn.events=[{at=1,action='drop',fraction=0.3},{at=2,action='split'},{at=4,action='heal'},"
        "{at=3,action='return'},{at=2.5,action='join',nodes=5}]",
    ],
    "simple tokens": ["algorithm.flow={kind='simple',capacity=3}", "network.delay.seconds=0.1"],
    "generalised tokens": ["algorithm.flow={kind='generalized',capacity=3,reserve=2}", "network.loss=0.3"],
    "randomised tokens": ["algorithm.flow={kind='randomized',capacity=3,reserve=2}"],
    "partitions with tokens": [
        "algorithm.sharing={kind='partitioned',parts=3}",
        "algorithm.flow={kind='randomized',capacity=3,reserve=2}",
        "network.loss=0.1",
    ],
    "subsamples": ["algorithm.sharing={kind='subsampled',parts=4}", "algorithm.exchange=push-pull"],
    "speeds": ["network.period_sigma=0.5", "task.partition=quantity:0.7", "training.batch_size=16"],
    "AD-PSGD with slow training": [
        "algorithm.name=ad_psgd",
        "network.delay.seconds=0.3",
        "training.step_seconds=0.6",
        "training.momentum=0.5",
        "task.partition=quantity:0.7",
        "training.batch_size=16",
        "network.bandwidth=0.01",
    ],
    "push-sum with slow training": [
        "algorithm.name=push_sum",
        "network.delay.seconds=0.3",
        "training.step_seconds=0.6",
        "training.momentum=0.5",
        "task.partition=quantity:0.7",
        "training.batch_size=16",
        "network.bandwidth=0.01",
    ],
    "push-sum of a personal model with buffers": [
        "algorithm.name=push_sum",
        "task.options.model=batchnorm",
        "training.schedule=inverse",
    ],
    "AD-PSGD of a personal model": ["algorithm.name=ad_psgd", "task.options.model=personal"],
    "AD-PSGD with dropout": ["algorithm.name=ad_psgd", "task.options.model=dropout"],
    "push-sum with dropout": ["algorithm.name=push_sum", "task.options.model=dropout"],
    "a convolution": ["task.options.model=convolution"],
    "buffers": ["task.options.model=batchnorm", "training.clip_norm=0.5", "training.weight_decay=0.01"],
    "dropout": ["task.options.model=dropout"],
    "a personal head": ["task.options.model=personal", "training.schedule=inverse"],
    **{f"a gate, {name}": [GATE, "topology=random-regular:degree=4", *more] for name, more in GATED.items()},
    **{f"attacked, {name}": ATTACKED[name] for name in ATTACKED},
    **{f"accepted by {name}": ACCEPTED[name] for name in ACCEPTED},
    "averaging alone": ["training.enabled=false", "algorithm.exchange=push-pull"],
}


def both(*overrides, rounds=ROUNDS, most_operations=50, **options):
    """Rows, ages and counts of the reference and of the engine, the timeline cut into many windows."""
    scenario = small(*overrides)
    world = world_of(scenario)
    given = conditions(scenario, world)
    reference = Reference(world, given, receipts_of(world, indptr=given.indptr))
    expected = reference.run(rounds * SECOND)
    timeline = Timeline(given, most_operations=most_operations)
    options.setdefault("compile_when", "never")
    engine = engine_of(world, indptr=given.indptr, **options)
    engine.workers = Workers(engine.workers.threads, always=True)
    for window in timeline.windows(rounds * SECOND):
        timeline.kept(engine.execute(window))
    engine.close()
    assert timeline.counts == reference.counts
    assert timeline.online.tolist() == (reference.away == 0).tolist()
    ages = torch.cat([model.ages for model in reference.models])
    assert engine.table.ages[: len(ages)].tolist() == ages.tolist()
    if reference.receipts is not None:
        assert len(engine.receipts.counts) > 2 or scenario.gate is None
        assert engine.receipts.counts == reference.receipts.counts
        assert engine.table.steps.tolist() == [int(model.steps) for model in reference.models]
    return expected, engine.rows().clone(), timeline


def relative(expected, came):
    return float((expected - came).abs().max() / expected.abs().max())


@pytest.mark.parametrize("overrides", SETTINGS.values(), ids=SETTINGS)
def test_equals_the_reference_in_double_precision(overrides):
    expected, came, timeline = both(*overrides)
    assert relative(expected, came) < 1e-10
    assert timeline.counts["delivered"] > 15


def test_equals_the_reference_in_single_precision():
    expected, came, _ = both("precision=float32", *SETTINGS["delay and loss"])
    assert came.dtype == torch.float32
    assert relative(expected, came) < 1e-4


def test_one_window_or_many_give_the_same_rows():
    _, many, _ = both(*SETTINGS["delay and loss"], most_operations=9)
    _, one, _ = both(*SETTINGS["delay and loss"], most_operations=10**6)
    assert relative(many, one) < 1e-12


@pytest.mark.parametrize(("threads", "block"), [(1, 1), (2, 2), (3, 4), (2, 64)])
def test_independent_of_threads_and_blocks(threads, block):
    expected, came, _ = both(*SETTINGS["delay and loss"], threads=threads, block=block)
    assert relative(expected, came) < 1e-12


def test_models_take_in_what_was_sent_and_not_what_the_sender_has_become():
    """With a delay of several periods every sender has moved on; reading its present row would be wrong."""
    scenario = small("network.delay.seconds=3.5", "training.enabled=false", "task.options.model=linear")
    world = world_of(scenario)
    timeline, engine = Timeline(conditions(scenario, world)), Engine(world, compile_when="never")
    engine.table.rows[:24] = torch.arange(24.0, dtype=torch.float64)[:, None]
    before = engine.rows().clone()
    for window in timeline.windows(int(4.4 * SECOND)):
        timeline.kept(engine.execute(window))
    first = Timeline(conditions(scenario, world))
    (window,) = first.windows(int(4.4 * SECOND))
    received = {}
    for kind, node, ref in zip(window.kind, window.node, window.ref, strict=True):
        if kind == ON_RECEIPT:
            received.setdefault(int(node), []).append(int(window.node[ref]))
    checked = 0
    for node, senders in received.items():
        if len(senders) == 1 and senders[0] not in received:
            want = (before[node] + before[senders[0]]) / 2
            assert torch.allclose(engine.rows()[node], want)
            checked += 1
    assert checked or any(len(senders) > 1 for senders in received.values())


def test_variance_falls_per_cycle_as_in_push_pull_averaging():
    """Sequential push-pull averaging: variance × 1/(2√e) = 0.303 a cycle (Jelasity et al. 2005, Section 4)."""
    n = 4000
    scenario = small(
        f"population.nodes={n}",
        "task.samples_per_node=1",
        "topology.name=complete",
        "algorithm.exchange=push-pull",
        "algorithm.weighting=plain",
        "training.enabled=false",
    )
    world = world_of(scenario)
    timeline, engine = Timeline(conditions(scenario, world)), Engine(world, compile_when="never")
    engine.table.rows[:n] = torch.randn(
        n, 18, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    variances = [engine.rows().var(dim=0).mean().item()]
    for cycle in range(1, 6):
        for window in timeline.windows(cycle * SECOND):
            timeline.kept(engine.execute(window))
        variances.append(engine.rows().var(dim=0).mean().item())
    ratios = np.array(variances[1:]) / np.array(variances[:-1])
    assert ratios[0] == pytest.approx(0.303, abs=0.006)
    assert ratios[1:].mean() == pytest.approx(
        0.295, abs=0.006
    )  # the order of nodes is the same in every cycle


@pytest.mark.slow
@pytest.mark.parametrize("name", ["merge and train", "train and merge", "buffers"])
def test_compiled_equals_the_reference(name, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    expected, came, _ = both("precision=float32", *SETTINGS[name], compile_when="always", threads=2)
    assert relative(expected, came) < 1e-4
    assert list(tmp_path.rglob("*.pt2"))
