"""Token accounts (Danner & Jelasity 2018): one message a period in the long run, and bursts of at most C."""

import heapq
import math
import random
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sims
from gossipfl.algorithms import Behaviour, Flow, MessageAlgorithm
from sims.compiler.operations import EMIT
from sims.compiler.timeline import Timeline, laws
from sims.errors import InvalidScenario, NotSimulable
from tests.sims.worlds import SECOND, conditions, small

KINDS = ("simple", "generalized", "randomized")
flows = st.builds(
    lambda kind, capacity, reserve: (kind, capacity, min(reserve, capacity)),
    st.sampled_from(KINDS),
    st.integers(1, 12),
    st.integers(1, 12),
)


def scenario_of(kind, capacity, reserve, *overrides):
    return small(
        f"algorithm.flow={{kind='{kind}',capacity={capacity},reserve={reserve}}}",
        "network.delay.seconds=0.05",
        *overrides,
    )


def proactive(kind, tokens, capacity, reserve):
    """The paper's PROACTIVE(a): probability of sending when the clock rings."""
    if kind != "randomized":
        return float(tokens >= capacity)
    if tokens < reserve - 1:
        return 0.0
    return (tokens - reserve + 1) / (capacity - reserve + 1)


def reactive(kind, tokens, reserve, *, is_useful=True):
    """The paper's REACTIVE(a, u): how many are sent in answer, on average."""
    if kind == "simple":
        return float(tokens > 0)
    if kind == "generalized":
        return float((reserve - 1 + tokens) // (reserve if is_useful else 2 * reserve))
    return tokens / reserve if is_useful else 0.0


@pytest.mark.parametrize("is_useful", [True, False])
@settings(max_examples=12, deadline=None)
@given(flows)
def test_accounts_decide_as_the_paper_says(is_useful, flow):
    kind, capacity, reserve = flow
    given_conditions = conditions(scenario_of(kind, capacity, reserve))
    draws = 1000
    for tokens in range(capacity + 1):
        sends = np.array([laws.sends_proactively(given_conditions, 0, k, tokens) for k in range(draws)])
        answers = np.array(
            [laws.reactive_messages(given_conditions, 0, k, tokens, is_useful) for k in range(draws)]
        )
        probability = proactive(kind, tokens, capacity, reserve)
        mean = reactive(kind, tokens, reserve, is_useful=is_useful)
        assert sends.mean() == pytest.approx(
            probability, abs=5 * math.sqrt(0.25 / draws) * (probability % 1 > 0)
        )
        assert answers.mean() == pytest.approx(mean, abs=5 * math.sqrt(0.25 / draws) * (mean % 1 > 0))
        assert set(answers.tolist()) <= {math.floor(mean), math.ceil(mean)}
        assert answers.max() <= tokens


@settings(max_examples=15, deadline=None)
@given(flow=flows, seed=st.integers(0, 2**31), loss=st.sampled_from([0.0, 0.3]))
def test_every_ring_of_a_clock_is_a_message_or_a_token(flow, seed, loss):
    """So the rate is one message a period, less what is banked, which is at most C; nothing is sent on credit."""
    timeline = Timeline(conditions(scenario_of(*flow, f"seed={seed}", f"network.loss={loss}")))
    for until in (3, 17, 60):
        for window in timeline.windows(until * SECOND):
            timeline.kept(np.full(len(window.pending), -1))
        state = timeline.state()
        tokens, rings = state["nodes.tokens"], state["nodes.wakes"]
        assert tokens.min() >= 0
        assert tokens.max() <= flow[1]
        assert state["nodes.sent"].tolist() == (rings - tokens).tolist()
    assert timeline.counts["sent"] >= 24 * (59 - flow[1])


@settings(max_examples=15, deadline=None)
@given(flow=flows, seed=st.integers(0, 2**31))
def test_within_any_time_a_node_sends_no_more_than_its_periods_and_its_account(flow, seed):
    """At most t/Δ + C messages within any time t (Danner & Jelasity 2018), and one at either end of it."""
    timeline = Timeline(conditions(scenario_of(*flow, f"seed={seed}")))
    (window,) = timeline.windows(80 * SECOND)
    sent = [window.time[(window.kind == EMIT) & (window.node == node)] / SECOND for node in range(24)]
    assert min(len(times) for times in sent) > 40
    bursts = 0
    for times in sent:
        for burst in range(2, len(times)):
            lengths = times[burst:] - times[:-burst]
            assert (burst + 1 <= lengths + 1 + flow[1] + 1e-9).all()
            bursts += int((lengths < burst - 1).sum())
    if flow[0] == "simple" and flow[1] > 3:
        assert bursts > 0  # accounts do allow bursts


class Events:
    """An event simulation of its own: n nodes on a complete graph, clocks out of step, ages of random walks."""

    def __init__(self, flow, *, n, delay, chooses_useful, seed):
        self.kind, self.capacity, self.reserve = flow
        self.n, self.delay, self.chooses_useful = n, delay, chooses_useful
        self.random = random.Random(seed)
        self.ages, self.tokens, self.sent, self.pending, self.scheduled = [0] * n, [0] * n, 0, [], 0
        for node in range(n):
            self.at(self.random.random(), node, None)

    def at(self, time, node, age):
        heapq.heappush(self.pending, (time, self.scheduled, node, age))
        self.scheduled += 1

    def send(self, node, now):
        other = self.random.randrange(self.n - 1)
        self.at(now + self.delay, other + (other >= node), self.ages[node])
        self.sent += 1

    def run(self, periods):
        while self.pending[0][0] <= periods:
            now, _, node, age = heapq.heappop(self.pending)
            if age is not None:
                self.receive(node, age, now)
                continue
            self.at(now + 1, node, None)
            if self.random.random() < proactive(self.kind, self.tokens[node], self.capacity, self.reserve):
                self.send(node, now)
            else:
                self.tokens[node] += 1
        return sum(self.ages) / self.n, self.sent

    def receive(self, node, age, now):
        is_useful = age >= self.ages[node] or not self.chooses_useful
        self.ages[node] = age + 1
        mean = reactive(self.kind, self.tokens[node], self.reserve, is_useful=is_useful)
        messages = int(mean) + (self.random.random() < mean % 1)
        self.tokens[node] -= messages
        for _ in range(messages):
            self.send(node, now)


@pytest.mark.parametrize("kind", ["generalized", "randomized"])
def test_models_grow_as_old_as_an_event_simulation_of_its_own_says(kind):
    """Danner & Jelasity 2018, Section IV: gossip learning, a transfer a hundredth of a period, A = 10, C = 20."""
    n, periods, seeds = 200, 60, range(6)
    scenario = small(
        f"population.nodes={n}",
        "topology.name=complete",
        "algorithm.merge=RW",
        f"algorithm.flow={{kind='{kind}',capacity=20,reserve=10}}",
        "network.delay.seconds=0.01",
    )
    ages, sent = [], []
    for seed in seeds:
        timeline = Timeline(conditions(scenario.model_copy(update={"seed": seed})))
        for window in timeline.windows(periods * SECOND):
            timeline.kept(np.full(len(window.pending), -1))
        ages.append(timeline.ages.mean())
        sent.append(timeline.counts["sent"] / n)
    flow = (kind, 20, 10)
    others = [Events(flow, n=n, delay=0.01, chooses_useful=True, seed=seed).run(periods) for seed in seeds]
    spread = 4 * np.std([*ages, *(age for age, _ in others)]) / math.sqrt(len(seeds) / 2)
    assert np.mean(ages) == pytest.approx(np.mean([age for age, _ in others]), abs=spread)
    assert np.mean(sent) == pytest.approx(np.mean([messages / n for _, messages in others]), rel=0.02)
    everything = [
        Events(flow, n=n, delay=0.01, chooses_useful=False, seed=seed).run(periods) for seed in seeds
    ]
    assert np.mean(ages) > 1.5 * np.mean([age for age, _ in everything])


def test_a_thousand_walks_are_as_old_as_published_after_200_periods():
    """A = 10, C = 20, randomized: some 13,800; 1,639 if every message counted as useful."""
    scenario = small(
        "population.nodes=1000",
        "topology.name=complete",
        "algorithm.merge=RW",
        "algorithm.flow={kind='randomized',capacity=20,reserve=10}",
        "network.delay.seconds=0.01",
    )
    timeline = Timeline(conditions(scenario))
    for window in timeline.windows(200 * SECOND):
        timeline.kept(np.full(len(window.pending), -1))
    assert timeline.ages.mean() == pytest.approx(13_800, rel=0.07)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "speed_up"), [("simple", 8.0), ("randomized", 3.0)])
def test_walks_that_are_answered_at_once_learn_faster_than_those_that_wait_for_a_clock(kind, speed_up):
    """At the same number of messages models are several times as old, and better (Danner & Jelasity 2018)."""
    common = (
        "population.nodes=300",
        "task.samples_per_node=1",
        "stop.rounds=100",
        "evaluate.every=100",
        "evaluate.nodes=100",
    )
    ends = [
        sims.run("token-accounts", overrides=[f"algorithm.flow={flow}", *common]).evaluations[-1]
        for flow in ("{kind='proactive'}", f"{{kind='{kind}',capacity=20,reserve=10}}")
    ]
    proactive_end, token_end = ends
    assert token_end["messages"][0] <= proactive_end["messages"][0]
    assert token_end["age_mean"][0] > speed_up * proactive_end["age_mean"][0]
    assert token_end["accuracy_mean"][0] > proactive_end["accuracy_mean"][0] + 0.01


@pytest.mark.parametrize(
    "other",
    ["gate={}", "attack={name='sign_flip',nodes=[1]}", "algorithm.acceptance={within='norm'}"],
)
def test_usefulness_needs_ages_that_do_not_depend_on_models(other):
    with pytest.raises(
        InvalidScenario, match=r'ages depend on .* got flow\.useful = "not_older".*useful = "all"'
    ):
        conditions(scenario_of("randomized", 6, 2, other))
    kept = "algorithm.flow={kind='randomized',capacity=6,reserve=2,useful='all'}"
    assert not conditions(small(kept, other)).compares_ages


def test_an_algorithm_with_other_ages_than_it_declares_is_refused():
    scenario = small(
        "algorithm={name='tests.sims.compiler.test_tokens:Younger'}",
        "stop.rounds=20",
        "evaluate.every=20",
    )
    with pytest.raises(
        NotSimulable, match=r"other ages than its behaviour declares.*Correct Behaviour\.ages"
    ):
        sims.run(scenario)


@dataclass(frozen=True, slots=True, kw_only=True)
class Younger(MessageAlgorithm):
    """Says that it keeps the larger age, and keeps its own."""

    name = "younger"

    @property
    def behaviour(self):
        return Behaviour(flow=Flow(kind="randomized", capacity=4, reserve=2))

    def on_receipt(self, nodes, message, *, update):
        return update(nodes.with_shared(message.shared, ages=nodes.ages))
