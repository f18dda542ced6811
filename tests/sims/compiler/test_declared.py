"""Any behaviour an algorithm may declare, compiled to waves, against the reference executor."""

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gossipfl.algorithms import Behaviour, Flow, Sharing
from gossipfl.errors import SettingError
from sims.compiler.reference import Reference
from sims.compiler.timeline import Timeline
from sims.engine import Engine
from sims.rows.packing import Packing
from sims.running.memory import estimate_memory
from sims.running.message_driven import MessageDriven
from tests.sims.compiler.declared import NAME
from tests.sims.compiler.test_equality import FAILURES
from tests.sims.worlds import SECOND, conditions, small, world_of


def contradictory(trains, exchange, lost):
    return (trains, exchange) == ("answer", "push") or (lost == "returned" and trains == "receipt")


BEHAVIOURS = [
    (trains, exchange, lost)
    for trains in ("receipt", "clock", "answer")
    for exchange in ("push", "pull", "push-pull")
    for lost in ("lost", "returned")
    if not contradictory(trains, exchange, lost)
]
CARRIED = ["", "momentum", "weight", "trace+momentum", "weight+trace+momentum"]


def overrides(behaviour, carried, *more):
    trains, exchange, lost = behaviour
    return (
        f"algorithm={{name='{NAME}',trains='{trains}',exchange='{exchange}',lost='{lost}',carried='{carried}'}}",
        "training.momentum=0.5",
        *more,
    )


def states(*overrides, rounds=6, most_operations=60, **options):
    """All state of all nodes, by the reference and by the engine, a row each."""
    scenario = small(*overrides)
    world = world_of(scenario)
    given = conditions(scenario, world)
    reference = Reference(world, given)
    reference.run(rounds * SECOND)
    timeline = Timeline(given, most_operations=most_operations)
    engine = Engine(world, compile_when="never", **options)
    for window in timeline.windows(rounds * SECOND):
        timeline.kept(engine.execute(window))
    engine.close()
    assert timeline.counts == reference.counts
    n = scenario.population.nodes
    assert engine.table.ages[:n].tolist() == torch.cat([each.ages for each in reference.models]).tolist()
    packing = Packing.of(reference.models[0], world.message_algorithm.behaviour.carries)
    packed = [torch.cat(packing.pack(each), dim=1) for each in reference.models]
    came = torch.cat([engine.table.rows[:n], engine.table.kept[:n]], dim=1)
    return torch.cat(packed), came, timeline


def relative(expected, came):
    """Largest difference in any column, of its largest number or of 1."""
    return float(((expected - came).abs() / expected.abs().amax(dim=0).clamp(min=1)).max())


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=", ".join)
def test_every_behaviour_equals_the_reference(behaviour):
    carried = "weight+trace+momentum"
    expected, came, timeline = states(*overrides(behaviour, carried, *FAILURES), threads=2, block=4)
    assert relative(expected, came) < 1e-10
    assert timeline.counts["delivered"] > 10
    assert timeline.counts["lost"] > 5
    assert timeline.counts["unreachable"] > 5


@settings(
    max_examples=5,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.reuse, Phase.generate],  # each takes a second, and so a minute to shrink
)
@given(
    behaviour=st.sampled_from(BEHAVIOURS),
    carried=st.sampled_from(CARRIED),
    sharing=st.sampled_from(["whole", "partitioned", "subsampled"]),
    seed=st.integers(0, 2**31),
    step=st.sampled_from([0.0, 0.4, 1.7]),
    single=st.booleans(),
    more=st.sampled_from(
        [
            ("task.options.model=personal", "task.partition=iid"),
            ("task.options.model=batchnorm", "task.partition=iid"),
            ("task.partition=quantity:0.7", "training.batch_size=16"),
            ("network.phase=together", "training.local_steps=2"),
        ]
    ),
    most_operations=st.sampled_from([20, 10**6]),
)
def test_drawn_behaviours_equal_the_reference(
    behaviour, carried, sharing, seed, step, single, more, most_operations
):
    given = overrides(
        behaviour,
        carried,
        *FAILURES,
        *more,
        f"seed={seed}",
        f"algorithm.sharing={{kind='{sharing}',parts=3}}",
        f"training.step_seconds={step}",
        f"precision={'float32' if single else 'float64'}",
    )
    expected, came, _ = states(*given, rounds=4, most_operations=most_operations)
    assert relative(expected, came) < (1e-4 if single else 1e-10)


def test_carried_rows_go_through_the_codec_and_single_numbers_do_not():
    given = overrides(
        ("receipt", "push", "lost"), "momentum+weight", "outgoing=[{kind='codec',name='bfloat16'}]"
    )
    expected, came, _ = states(*given)
    plain, _, _ = states(*given[:-1])
    assert relative(expected, came) < 1e-10
    assert relative(plain, came) > 1e-4


@pytest.mark.parametrize("carried", CARRIED)
def test_a_resumed_simulation_ends_where_the_whole_one_does(carried):
    scenario = small(*overrides(("clock", "push-pull", "lost"), carried, *FAILURES))
    world = world_of(scenario)

    def simulation():
        return MessageDriven(scenario, world, threads=1, compile_when="never", device="cpu")

    whole, first, second = simulation(), simulation(), simulation()
    whole.advance(9, between=lambda: False)
    first.advance(4.3, between=lambda: False)
    second.restore({name: array.copy() for name, array in first.state().items()})
    second.advance(9, between=lambda: False)
    for name, array in whole.state().items():
        if name in ("rows", "kept"):
            assert (array[: scenario.population.nodes] == second.state()[name][: len(array)][:24]).all()
    assert second.counts() == whole.counts()


def test_bytes_and_memory_follow_from_what_is_declared():
    size, momentum = 18, 18
    bare = world_of(small(*overrides(("receipt", "push", "lost"), "")))
    full = world_of(small(*overrides(("receipt", "push", "lost"), "weight+trace+momentum")))
    assert bare.message_bytes == 4 * size
    assert full.message_bytes == 4 * (size + 1 + 3 + momentum)
    assert estimate_memory(full.scenario, full).slots > 2 * estimate_memory(bare.scenario, bare).slots
    n, item = 24, 8
    for world in (bare, full):
        assert estimate_memory(world.scenario, world).rows == n * (item * (size + momentum + 8) + 8 + 8)


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ({"trains": "answer"}, "must ask"),
        ({"lost": "returned"}, "whenever a message is lost"),
        ({"flow": Flow(kind="simple"), "exchange": "pull"}, "token accounts"),
        ({"flow": Flow(kind="simple"), "trains": "clock"}, "token accounts"),
        ({"carries": ("public copies",)}, "letters, digits"),
        ({"carries": ("a", "a")}, "different names"),
        ({"carries": tuple("abcde")}, "at most 4"),
    ],
)
def test_contradictions_are_refused(declared, says):
    with pytest.raises(SettingError, match=says):
        Behaviour(**declared)


def test_carrying_what_nobody_has_is_refused():
    for name, says in (("nothing", "no rows of this name"), ("events", "a shape")):
        world = world_of(small(*overrides(("receipt", "push", "lost"), name)))
        with pytest.raises(SettingError, match=f"cannot carry '{name}'.*{says}"):
            world.message_bytes  # noqa: B018  (the first that asks)
        with pytest.raises(SettingError, match=name):
            Engine(world)


def test_auxiliary_rows_have_the_dtype_of_models():
    world = world_of(small())
    nodes = world.first_nodes()
    counted = type(nodes)(
        rows=nodes.rows,
        ages=nodes.ages,
        steps=nodes.steps,
        optimiser_state=nodes.optimiser_state,
        auxiliary={"count": nodes.steps},
    )
    with pytest.raises(SettingError, match=r"count torch\.int64"):
        Packing.of(counted, ())


def test_sharing_takes_its_share():
    assert Sharing().share_of(7) == 7
    assert Sharing(kind="subsampled", parts=3).share_of(7) == 3
    assert Sharing(kind="partitioned", parts=3).ages == 3
