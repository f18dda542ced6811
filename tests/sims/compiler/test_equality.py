"""Every message-driven algorithm and variant, under failures, against the reference executor."""

import itertools

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sims.running.message_driven import MessageDriven
from tests.sims.engine.test_engine import both, relative
from tests.sims.worlds import small, world_of

FAILURES = (
    "network.loss=0.15",
    "network.jitter=0.3",
    "network.delay={kind='lognormal',median=0.4,sigma=1.0}",
    "churn.process={kind='cycle',offline=0.2}",
    "churn.events=[{at=1,action='split'},{at=2.5,action='heal'},{at=3,action='drop',fraction=0.2}]",
)
MERGES = {
    f"{merge}, {weighting}, {exchange}": (
        f"algorithm.merge={merge}",
        f"algorithm.weighting={weighting}",
        f"algorithm.exchange={exchange}",
    )
    for merge, weighting, exchange in itertools.product(
        ("RW", "MU", "UM"), ("plain", "age"), ("push", "pull", "push-pull")
    )
}
OTHERS = {
    "limited, age": ("algorithm.merge_limit=1",),
    "limited, plain, UM": ("algorithm.merge_limit=2", "algorithm.merge=UM", "algorithm.weighting=plain"),
    "limited, partitioned": ("algorithm.merge_limit=1", "algorithm.sharing={kind='partitioned',parts=3}"),
    "partitioned": ("algorithm.sharing={kind='partitioned',parts=3}", "algorithm.exchange=push-pull"),
    "partitioned, plain": (
        "algorithm.sharing={kind='partitioned',parts=3}",
        "algorithm.exchange=pull",
        "algorithm.weighting=plain",
    ),
    "subsampled": ("algorithm.sharing={kind='subsampled',parts=4}",),
    "simple tokens": ("algorithm.flow={kind='simple',capacity=2}",),
    "generalized tokens": ("algorithm.flow={kind='generalized',capacity=3,reserve=2}",),
    "generalized tokens, all useful": (
        "algorithm.flow={kind='generalized',capacity=3,reserve=2,useful='all'}",
        "algorithm.merge=RW",
    ),
    "randomized tokens, walks that train for a while": (
        "algorithm.flow={kind='randomized',capacity=3,reserve=2}",
        "algorithm.merge=RW",
        "training.step_seconds=0.3",
        "training.local_steps=2",
    ),
    "randomized tokens, limited": (
        "algorithm.flow={kind='randomized',capacity=3,reserve=2}",
        "algorithm.merge_limit=2",
    ),
    "randomized tokens, partitioned": (
        "algorithm.flow={kind='randomized',capacity=3,reserve=2}",
        "algorithm.sharing={kind='partitioned',parts=2}",
    ),
    "simple tokens, subsampled": (
        "algorithm.flow={kind='simple',capacity=2}",
        "algorithm.sharing={kind='subsampled',parts=2}",
    ),
    "APFL": ("algorithm={name='apfl_gossip',adapts=true,exchange='push-pull'}",),
    "AD-PSGD": ("algorithm.name=ad_psgd",),
    "push-sum": ("algorithm.name=push_sum",),
    "AdamW by steps": (
        "training={optimiser='adamw',learning_rate=0.05,clock='step',schedule='cosine',decay_age=12,warm_up=3}",
        "training.batch_size=4",
        "algorithm.exchange=push-pull",
    ),
    "Nesterov": ("training={momentum=0.8,nesterov=true,learning_rate=0.05}",),
    "push-sum, steps of models": ("algorithm.name=push_sum", "algorithm.steps_of=model"),
}
VARIANTS = {**MERGES, **OTHERS}


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_every_variant_equals_the_reference(variant):
    expected, came, timeline = both(*variant, *FAILURES, threads=2, block=4, most_operations=250)
    assert relative(expected, came) < 1e-10
    assert timeline.counts["delivered"] > 10
    assert timeline.counts["lost"] > 5
    assert timeline.counts["unreachable"] > 5


@pytest.mark.parametrize("name", ["MU, age, push", "limited, age", "partitioned", "AD-PSGD", "push-sum"])
def test_in_single_precision_to_rounding(name):
    expected, came, _ = both("precision=float32", *VARIANTS[name], *FAILURES, threads=2)
    assert relative(expected, came) < 1e-4


@st.composite
def scenarios(draw):
    """A network, a model and a way to compute it, all drawn."""
    delay = draw(
        st.sampled_from(
            [
                "{kind='constant',seconds=0.0}",
                "{kind='constant',seconds=1.5}",
                "{kind='uniform',low=0.0,high=2.0}",
                "{kind='lognormal',median=0.3,sigma=1.5}",
            ]
        )
    )
    churn = draw(
        st.sampled_from(
            [
                "{kind='none'}",
                "{kind='cycle',offline=0.3}",
                "{kind='sessions',online={median=3.0,spread=0.5},offline={median=1.0,spread=0.5}}",
            ]
        )
    )
    overrides = [
        f"seed={draw(st.integers(0, 2**31))}",
        f"precision={draw(st.sampled_from(['float64', 'float32']))}",
        f"network.delay={delay}",
        f"network.loss={draw(st.sampled_from([0.0, 0.3]))}",
        f"network.phase={draw(st.sampled_from(['random', 'together']))}",
        f"network.choose={draw(st.sampled_from(['any', 'online']))}",
        f"churn.process={churn}",
        f"training.step_seconds={draw(st.sampled_from([0.0, 0.4, 1.7]))}",
        f"training.local_steps={draw(st.integers(1, 2))}",
        f"training.momentum={draw(st.sampled_from([0.0, 0.5]))}",
        f"training.schedule={draw(st.sampled_from(['constant', 'inverse']))}",
        *draw(
            st.sampled_from(
                [
                    ("task.options.model=linear", "task.partition=quantity:0.7"),
                    ("task.options.model=batchnorm", "task.partition=iid"),  # needs two samples everywhere
                    ("task.options.model=personal", "task.partition=iid"),
                ]
            )
        ),
    ]
    how = {
        "threads": draw(st.integers(1, 2)),
        "block": draw(st.sampled_from([1, 4, 32])),
        "most_operations": draw(st.sampled_from([20, 10**6])),
    }
    variant = draw(st.sampled_from(sorted(VARIANTS)))
    if any(each.startswith("training={") for each in VARIANTS[variant]):  # it has a momentum, or refuses one
        overrides = [each for each in overrides if "momentum" not in each]
    if (
        "AdamW" in variant
    ):  # which divides by ε, 1e-8, what rounding leaves of the gradient of a bias before BatchNorm
        overrides.append("training.epsilon=0.0001")
    return (*VARIANTS[variant], *overrides), how


COMPACT = {
    "messages": (*VARIANTS["MU, age, push-pull"], *FAILURES),
    "answers": (*VARIANTS["AD-PSGD"], *FAILURES, "engine.rows=int16", "training.step_seconds=0.4"),
    "parts of models": (*VARIANTS["partitioned"], *FAILURES),
    "messages in few bits, too": ("algorithm.codec=int8", *FAILURES),
    "what stays and what travels": (
        *VARIANTS["push-sum"],
        "training.momentum=0.5",
        "engine.rounding=nearest",
    ),
    "row by row": ("task.options={model='dropout'}", *FAILURES),
}


@pytest.mark.parametrize("overrides", COMPACT.values(), ids=COMPACT)
def test_models_in_few_bits_equal_the_references(overrides):
    expected, came, timeline = both("engine.rows=int8", *overrides)
    assert relative(expected, came) < 1e-10
    assert timeline.counts["delivered"] > 15
    full, _, _ = both(*overrides, "engine={rows='full'}")
    assert relative(full, came) > 1e-6


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(scenarios())
@example(
    (
        (*VARIANTS["AD-PSGD"], *FAILURES, "network.phase=together", "training.step_seconds=0.4"),
        {"most_operations": 10**6},
    )
)
@example(
    (
        (*VARIANTS["push-sum"], *FAILURES, "network.phase=together", "training.step_seconds=0.4"),
        {"most_operations": 10**6},
    )
)
def test_drawn_scenarios_equal_the_reference(drawn):
    overrides, how = drawn
    expected, came, _ = both(*overrides, rounds=4, **how)
    tolerance = 1e-4 if "precision=float32" in overrides else 1e-10
    assert relative(expected, came) < tolerance


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("randomized tokens, partitioned", "full"),
        ("limited, age", "full"),
        ("AD-PSGD", "full"),
        ("AD-PSGD", "int8"),
        ("push-sum", "full"),
    ],
)
def test_a_resumed_simulation_ends_where_the_whole_one_does(name, rows):
    scenario = small(*VARIANTS[name], *FAILURES, "training.momentum=0.5", f"engine.rows={rows}")
    world = world_of(scenario)

    def simulation():
        return MessageDriven(scenario, world, threads=1, compile_when="never", device="cpu")

    whole, first, second = simulation(), simulation(), simulation()
    whole.advance(9, between=lambda: False)
    first.advance(4.3, between=lambda: False)
    second.restore({name: array.copy() for name, array in first.state().items()})
    first.advance(6, between=lambda: False)  # what was saved stays as it was
    second.advance(9, between=lambda: False)
    assert second.rows().equal(whole.rows())
    assert second.ages().tolist() == whole.ages().tolist()
    assert second.counts() == whole.counts()
