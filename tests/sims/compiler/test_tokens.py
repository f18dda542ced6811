"""Token accounts (Danner & Jelasity 2018): one message a period in the long run, and bursts of at most C."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sims
from sims.compiler.operations import EMIT
from sims.compiler.timeline import Timeline, laws
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


def reactive(kind, tokens, reserve):
    """The paper's REACTIVE(a, u) for useful messages: how many are sent in answer, on average."""
    if kind == "simple":
        return float(tokens > 0)
    if kind == "generalized":
        return float((reserve - 1 + tokens) // reserve)
    return tokens / reserve


@settings(max_examples=12, deadline=None)
@given(flows)
def test_accounts_decide_as_the_paper_says(flow):
    kind, capacity, reserve = flow
    given_conditions = conditions(scenario_of(kind, capacity, reserve))
    draws = 1000
    for tokens in range(capacity + 1):
        sends = np.array([laws.sends_proactively(given_conditions, 0, k, tokens) for k in range(draws)])
        answers = np.array([laws.reactive_messages(given_conditions, 0, k, tokens) for k in range(draws)])
        probability, mean = proactive(kind, tokens, capacity, reserve), reactive(kind, tokens, reserve)
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
