"""Push-sum: mass is never lost, whatever happens to messages, and so the mean that is found is the true one."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sims.compiler.mail import Mail
from sims.compiler.reference import Reference
from sims.compiler.timeline import Timeline
from sims.engine import Engine
from tests.sims.worlds import SECOND, conditions, quadratic, small, world_of

FAILURES = (
    "algorithm.name=push_sum",
    "network.loss=0.2",
    "network.jitter=0.3",
    "churn.process={kind='sessions',online={median=3.0,spread=0.5},offline={median=1.0,spread=0.5}}",
    "churn.events=[{at=2,action='split'},{at=5,action='heal'},{at=6,action='drop',fraction=0.3}]",
)
SHARED = 18


def models(n, *, seed=0):
    return torch.randn(n, SHARED, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def mass_of_reference(reference):
    """Σ weight · model and Σ weight of all nodes and all messages on their way, ``[SHARED + 1]``."""
    shares = [
        argument.message
        for _, _, _, _, arguments in reference.pending
        for argument in arguments
        if isinstance(argument, Mail)
    ]
    kept = [(model.auxiliary["weight"], model.rows[:, :SHARED]) for model in reference.models]
    sent = [(share.carried["weight"], share.shared) for share in shares]
    return (
        sum(torch.cat([weight[:, None] * model, weight[:, None]], dim=1)[0] for weight, model in kept + sent),
        len(sent),
    )


def mass_of_engine(engine, pending):
    """The same from the engine's table: nodes, and slots of pending messages."""
    n = engine.table.n
    places = torch.cat([torch.arange(n), n - torch.from_numpy(pending)])  # −1 − slot names n + 1 + slot
    rows = engine.table.rows[places]
    weight = rows[:, -1:]
    return torch.cat([weight * rows[:, :SHARED], weight], dim=1).sum(dim=0), len(pending)


def assert_conserved(first, mass):
    assert float(((mass - first) / first.abs().clamp(min=1)).abs().max()) < 1e-12


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    loss=st.sampled_from([0.0, 0.2, 0.7]),
    delay=st.sampled_from([0.0, 0.4, 3.0]),
    step=st.sampled_from([0.0, 0.3]),
    choose=st.sampled_from(["any", "online"]),
)
def test_mass_is_conserved_at_any_moment(seed, loss, delay, step, choose):
    scenario = small(
        *FAILURES,
        f"seed={seed}",
        f"network.loss={loss}",
        f"network.delay={{kind='lognormal',median={delay},sigma=1.0}}"
        if delay
        else "network.delay.seconds=0",
        f"training.step_seconds={step}",
        f"network.choose={choose}",
        "training.enabled=false",
    )
    world = world_of(scenario)
    given_conditions = conditions(scenario, world)
    reference = Reference(world, given_conditions)
    for model, row in zip(reference.models, models(24), strict=True):
        model.rows[:] = row
    first, _ = mass_of_reference(reference)
    timeline = Timeline(given_conditions, most_operations=60)
    engine = Engine(world, compile_when="never")
    engine.table.rows[:24, :SHARED] = models(24)
    most_on_their_way = 0
    for moment in (1.0, 4.4, 9.0):
        reference.run(int(moment * SECOND))
        mass, on_their_way = mass_of_reference(reference)
        assert_conserved(first, mass)
        most_on_their_way = max(most_on_their_way, on_their_way)
        for window in timeline.windows(int(moment * SECOND)):
            pending = engine.execute(window)
            timeline.kept(pending)
        mass, pending_models = mass_of_engine(engine, pending)
        assert pending_models == on_their_way
        assert_conserved(first, mass)
    if delay:
        assert most_on_their_way > 3


def spread_after(rounds, *overrides):
    """Largest distance of any node's model from the true mean, and the timeline."""
    scenario = small("algorithm.name=push_sum", "training.enabled=false", *overrides)
    world = world_of(scenario)
    timeline, engine = Timeline(conditions(scenario, world)), Engine(world, compile_when="never")
    engine.table.rows[:24, :SHARED] = models(24)
    mean = engine.rows().mean(dim=0)
    for window in timeline.windows(rounds * SECOND):
        timeline.kept(engine.execute(window))
    return float((engine.rows() - mean).abs().max()), timeline


LOSSY = (
    "network.loss=0.2",
    "network.delay={kind='lognormal',median=0.5,sigma=0.7}",
    "topology.name=complete",
)


def test_every_node_finds_the_true_mean_despite_loss_and_delay():
    distance, timeline = spread_after(150, *LOSSY)
    assert timeline.counts["lost"] > 0.15 * timeline.counts["sent"]
    assert distance < 1e-10


def test_every_node_finds_the_true_mean_despite_churn():
    distance, timeline = spread_after(250, *LOSSY, "churn.process={kind='cycle',offline=0.3}")
    assert timeline.counts["unreachable"] > 0.15 * timeline.counts["sent"]
    assert distance < 1e-10


def test_averaging_that_loses_messages_finds_another_value():
    """What the accounting is for: plain push averaging ends where chance takes it."""
    distance, _ = spread_after(
        150, *LOSSY, "algorithm.name=gossip_learning", "algorithm.weighting=plain", "network.choose=any"
    )
    assert distance > 1e-3


def test_steps_move_the_mean_of_all_mass_alike(monkeypatch):
    """Σ sums changes by the steps made and by nothing else, −η Σ g(z), however much is lost meanwhile."""
    scenario = small(
        *FAILURES,
        "task.name=tests.sims.worlds:quadratic",
        "task.options={nodes=24}",
        "task.partition=contiguous",
        "training.learning_rate=0.05",
        "network.delay.seconds=0.6",
    )
    world = world_of(scenario)
    reference = Reference(world, conditions(scenario, world))
    steps = []
    train = reference.learning.train

    def recorded(nodes, owner):
        after = train(nodes, owner)
        steps.append(after.rows - nodes.rows)
        return after

    monkeypatch.setattr(reference.learning, "train", recorded)
    reference.run(20 * SECOND)
    total = sum(float(m.auxiliary["weight"][0] * m.rows[0, 0]) for m in reference.models)
    for _, _, _, _, arguments in reference.pending:
        sent = [a.message for a in arguments if isinstance(a, Mail)]
        total += sum(float(share.carried["weight"][0] * share.shared[0, 0]) for share in sent)
    assert len(steps) > 100
    assert abs(total - float(sum(steps))) < 1e-12
    assert quadratic(nodes=24).layout.shared_size == 1
