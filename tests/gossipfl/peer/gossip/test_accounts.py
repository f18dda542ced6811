"""Token accounts of peers: the decisions of the paper, drawn so that they can be repeated."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipfl.algorithms.gossip.flow import PROACTIVE, Flow
from gossipfl.errors import SettingError
from gossipfl.peer.gossip.accounts import TokenAccounts
from gossipfl.peer.gossip.own_draws import CLOCK, RECEIPT, OwnDraws
from gossipfl.peer.gossip.plan import gossip_algorithm, gossip_parameters, in_full
from gossipfl.peer.membership.charter import charter_of
from gossipfl.settings import dump_settings, parse_settings
from tests.integration.tasks import blobs

flows = st.builds(
    lambda kind, capacity, reserve: Flow(kind=kind, capacity=capacity, reserve=min(reserve, capacity)),
    st.sampled_from(["simple", "generalized", "randomized"]),
    st.integers(1, 12),
    st.integers(1, 12),
)


@given(flows, st.lists(st.booleans(), max_size=120))
def test_every_ring_is_a_message_or_a_token_and_nothing_is_sent_on_credit(flow, rings):
    account, sent = TokenAccounts(flow, OwnDraws("P", 1), lambda _: None), 0
    for is_ring in rings:
        sent += account.ring() if is_ring else account.receive(0)
        assert 0 <= account.tokens[0] <= flow.capacity
    assert sent == sum(rings) - account.tokens[0]


@settings(max_examples=20, deadline=None)
@given(flows, st.data())
def test_decisions_have_the_probabilities_of_the_paper(flow, data):
    """Danner & Jelasity 2018, Section III: PROACTIVE(a) and REACTIVE(a, u)."""
    tokens = data.draw(st.integers(0, flow.capacity))
    rings = answers = useless = 0
    many = 400
    for start in range(many):
        account = TokenAccounts(flow, OwnDraws("P", start), lambda _: None)
        account.tokens = [tokens]
        rings += account.ring()
        account.tokens = [tokens]
        answers += account.receive(0)
        account.tokens = [tokens]
        useless += account.receive(0, is_useful=False)
    if flow.kind == "randomized":
        room = flow.capacity - flow.reserve + 1
        probability = max(0.0, (tokens - flow.reserve + 1) / room)
        mean, mean_useless = tokens / flow.reserve, 0.0
    else:
        probability = float(tokens >= flow.capacity)
        mean = mean_useless = float(tokens > 0)
        if flow.kind == "generalized":
            mean = float((flow.reserve - 1 + tokens) // flow.reserve)
            mean_useless = float((flow.reserve - 1 + tokens) // (2 * flow.reserve))
    slack = 5 * math.sqrt(0.25 / many)
    assert rings / many == pytest.approx(probability, abs=slack if 0 < probability < 1 else 0)
    assert useless / many == mean_useless
    assert answers / many == pytest.approx(mean, abs=slack if mean % 1 else 0)


def test_without_tokens_every_ring_is_a_message_and_nothing_is_recorded():
    records = []
    account = TokenAccounts(PROACTIVE, OwnDraws("P", 1), records.append)
    assert [account.ring() for _ in range(5)] == [True] * 5
    assert account.receive(3) == 0
    assert not records


def test_draws_are_functions_of_peer_start_purpose_and_counter():
    ways = [
        ("P", 1, CLOCK, 0),
        ("Q", 1, CLOCK, 0),
        ("P", 2, CLOCK, 0),
        ("P", 1, RECEIPT, 0),
        ("P", 1, CLOCK, 1),
    ]
    drawn = [OwnDraws(peer, start).uniform(purpose, n) for peer, start, purpose, n in ways]
    assert len(set(drawn)) == len(drawn)
    assert drawn == [OwnDraws(peer, start).uniform(purpose, n) for peer, start, purpose, n in ways]


FLOW = {"kind": "randomized", "capacity": 12, "reserve": 4}
TABLES = {"gossip": {"flow": FLOW}, "exchange": {"mode": "push"}}


def test_peers_take_the_flow_that_scenarios_have():
    read = parse_settings(TABLES, source="here")
    assert gossip_algorithm(read).behaviour.flow == Flow(**FLOW)
    assert in_full(read).gossip.parameters["flow"] == {**FLOW, "useful": "not_older"}
    assert "flow" not in in_full(parse_settings({}, source="here")).gossip.parameters
    text = dump_settings(read, gossip=gossip_parameters(read))
    assert 'flow = { kind = "randomized", capacity = 12, reserve = 4, useful = "not_older" }' in text


def test_only_models_that_were_just_trained_are_paid_for():
    read = parse_settings({**TABLES, "exchange": {"mode": "push-pull"}}, source="here")
    with pytest.raises(SettingError, match=r"expected exchange = 'push' .* exchange\.mode"):
        gossip_algorithm(read)


def test_members_need_not_have_the_same_flow():
    task = blobs()
    fields = [
        charter_of(in_full(parse_settings(tables, source="here")), task, layout=bytes(32))
        for tables in (TABLES, {})
    ]
    assert fields[0] == fields[1]
