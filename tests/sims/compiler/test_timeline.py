"""Timelines: the same on any machine, and with the laws that were asked for."""

import hashlib

import numpy as np
import pytest
import scipy.stats

from gossipfl.errors import SettingError
from sims.compiler.operations import EMIT, ON_RECEIPT
from sims.compiler.timeline import Timeline, laws
from sims.compiler.timeline.arithmetic import exact_exp, exact_log, exact_sine_turn, normal_quantile
from sims.compiler.timeline.draws import LOSS, NEIGHBOUR, below, lognormal, uniform, weibull
from sims.compiler.timeline.traces import read_bandwidths
from sims.errors import InvalidScenario, MalformedTrace
from tests.sims.worlds import SECOND, conditions, small

BUSY = (
    "network.loss=0.1",
    "network.delay={kind='lognormal',median=0.3,sigma=1.0}",
    "network.jitter=0.2",
    "churn.process={kind='sessions',online={median=5.0,spread=0.5},day=20.0,night=0.5,"
    "offline={distribution='weibull',median=1.0,spread=0.7}}",
)


def operations(scenario, *, rounds=20, most_operations=10**6):
    """All operations of a run, with references by count of what was sent."""
    timeline = Timeline(conditions(scenario), most_operations=most_operations)
    kinds, nodes, times = [], [], []
    for window in timeline.windows(rounds * SECOND):
        timeline.kept(np.full(len(window.pending), -1))
        kinds.append(window.kind.copy())
        nodes.append(window.node.copy())
        times.append(window.time.copy())
    return np.concatenate(kinds), np.concatenate(nodes), np.concatenate(times), timeline


def test_the_same_seed_gives_the_same_timeline_on_any_machine():
    kind, node, time, _ = operations(small(*BUSY))
    updates = (kind != EMIT).astype("u1")
    digest = hashlib.sha256(updates.tobytes() + node.astype("<i4").tobytes() + time.astype("<i8").tobytes())
    assert digest.hexdigest()[:16] == GOLDEN


def test_windows_do_not_change_what_happens():
    one, many = operations(small(*BUSY)), operations(small(*BUSY), most_operations=11)
    for expected, came in zip(one[:3], many[:3], strict=True):
        assert expected.tolist() == came.tolist()


def test_another_seed_gives_another_timeline():
    assert operations(small(*BUSY))[2].tolist() != operations(small("seed=4", *BUSY))[2].tolist()


def test_times_never_go_back():
    assert (np.diff(operations(small(*BUSY))[2]) >= 0).all()


def test_a_checkpointed_timeline_goes_on_as_if_nothing_had_happened():
    whole = operations(small(*BUSY))
    first = Timeline(conditions(small(*BUSY)))
    for window in first.windows(7 * SECOND):
        first.kept(np.full(len(window.pending), -1))
    state = {name: array.copy() for name, array in first.state().items()}
    second = Timeline(conditions(small(*BUSY)))
    second.restore(state)
    (window,) = second.windows(20 * SECOND)
    assert window.time.tolist() == whole[2][-len(window) :].tolist()
    assert second.counts == whole[3].counts


def test_delays_follow_their_law():
    """Of single messages on an idle network, arrival minus departure is the delay."""
    scenario = small("population.nodes=400", "network.delay={kind='lognormal',median=30.0,sigma=0.8}")
    kind, _, _time, timeline = operations(scenario, rounds=1000)
    assert timeline.counts["sent"] == 400 * 1000
    in_flight = timeline.counts["sent"] - timeline.counts["delivered"]
    mean = 30.0 * np.exp(0.8**2 / 2)  # Little's law: in flight = rate × mean delay
    assert in_flight == pytest.approx(400 * mean, rel=0.03)
    assert (kind == ON_RECEIPT).sum() == timeline.counts["delivered"]


def test_loss_has_its_probability():
    *_, timeline = operations(small("network.loss=0.25"), rounds=400)
    assert timeline.counts["lost"] / timeline.counts["sent"] == pytest.approx(0.25, abs=0.015)


def test_cycles_offline_have_their_probability():
    *_, timeline = operations(small("churn.process={kind='cycle',offline=0.4}"), rounds=400)
    assert timeline.counts["sent"] / (24 * 400) == pytest.approx(0.6, abs=0.02)
    assert timeline.counts["unreachable"] / timeline.counts["sent"] == pytest.approx(0.4, abs=0.03)


def test_a_split_lets_nothing_through_until_it_heals():
    plan = "churn.events=[{at=5,action='split',parts=24},{at=10,action='heal'}]"
    kind, _, time, _ = operations(small(plan), rounds=15)
    absorbed = time[kind == ON_RECEIPT] / SECOND
    assert ((absorbed > 5) & (absorbed < 10)).sum() < 0.2 * (absorbed < 5).sum()
    assert (absorbed > 10).any()


def test_uplinks_send_one_message_after_the_other():
    """A push of 1,000 bytes at 8 kbit/s takes a second, so no node can send more than one a second."""
    scenario = small("network.period=0.1", "network.bandwidth=0.008")
    _kind, _, _time, timeline = operations(scenario, rounds=100)
    assert timeline.counts["delivered"] <= 24 * 100
    assert timeline.counts["sent"] > 20_000


def test_token_accounts_send_no_more_than_one_message_a_period():
    for kind in ("simple", "generalized", "randomized"):
        flow = f"algorithm.flow={{kind='{kind}',capacity=5,reserve=2}}"
        *_, timeline = operations(small(flow), rounds=200)
        assert 0.8 * 24 * 200 < timeline.counts["sent"] <= 24 * 200


def test_a_trace_says_who_is_online(tmp_path):
    trace = tmp_path / "trace.csv"
    trace.write_text("node,start,end\n0,0,10\n1,5,20\n")
    scenario = small(f"churn.process={{kind='trace',file='{trace}'}}")
    timeline = Timeline(conditions(scenario))
    online = []
    for second in (4, 7, 12, 25):
        for window in timeline.windows(second * SECOND):
            timeline.kept(np.full(len(window.pending), -1))
        online.append(np.flatnonzero(timeline.online).tolist())
    assert online == [[0], [0, 1], [1], []]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("0,1,2\n", ":1: not an availability trace"),
        ("node,start,end\n0,1\n", ":2: not a session"),
        ("node,start,end\n99,1,2\n", ":2: no such node"),
        ("node,start,end\n0,5,2\n", ":2: a session ends after it starts"),
        ("node,start,end\n0,1,5\n0,4,6\n", ":3: sessions of node 0 overlap"),
        ("node,start,end\n0,nan,5\n", ":2: a session"),
    ],
)
def test_a_malformed_trace_is_refused_by_line(tmp_path, text, complaint):
    trace = tmp_path / "trace.csv"
    trace.write_text(text)
    with pytest.raises(MalformedTrace, match=complaint):
        conditions(small(f"churn.process={{kind='trace',file='{trace}'}}"))


def test_round_trip_matrices_are_halved_and_checked(tmp_path):
    file = tmp_path / "rtt.npz"
    np.savez(file, rtt=np.full((3, 3), 250.0))
    scenario = small(f"network.delay={{kind='matrix',file='{file}'}}")
    kind, _, time, _timeline = operations(scenario, rounds=3)
    sent, arrived = time[kind != ON_RECEIPT], time[kind == ON_RECEIPT]
    assert (arrived - sent[: len(arrived)] == SECOND // 8).all()
    np.savez(file, rtt=np.zeros((2, 3)))
    with pytest.raises(MalformedTrace, match="not square"):
        conditions(scenario)
    file.unlink()
    with pytest.raises(MalformedTrace, match="there is no"):
        conditions(scenario)


SPEEDS = np.random.default_rng(0).uniform(5, 20, (4, 4))


def but(i, j, value):
    changed = SPEEDS.copy()
    changed[i, j] = value
    return changed


@pytest.mark.parametrize(
    ("speeds", "complaint"),
    [
        (but(1, 2, np.nan), "negative or missing speeds.*got nan from host 1 to host 2"),
        (but(0, 3, -1.0), "negative or missing speeds.*got -1 from host 0 to host 3"),
        (but(2, 0, np.inf), "got inf from host 2 to host 0"),
        (but(3, 1, 0.0), "nothing can be sent; expected speeds above 0"),
        (SPEEDS * 1e6, "no path is as fast.*divide bits per second by 1,000,000"),
        (SPEEDS[:3], "not square"),
        (np.zeros((0, 0)), "not square"),
        (SPEEDS + 1j, "of type complex128"),
        (SPEEDS > 0, "of type bool"),
        (SPEEDS.astype(str), "of type <U"),
    ],
)
@pytest.mark.parametrize("kind", ["npz", "npy"])
def test_speeds_of_links_that_are_none_are_named(tmp_path, speeds, complaint, kind):
    file = tmp_path / f"links.{kind}"
    np.savez(file, bandwidth=speeds) if kind == "npz" else np.save(file, speeds)
    with pytest.raises(MalformedTrace, match=complaint):
        read_bandwidths(file)


@pytest.mark.parametrize("kind", ["npz", "npy", "csv"])
def test_what_hosts_have_to_themselves_does_not_matter_for_speeds(tmp_path, kind):
    speeds, file = SPEEDS.copy(), tmp_path / f"links.{kind}"
    np.fill_diagonal(speeds, np.nan)
    if kind == "npz":
        np.savez(file, bandwidth=speeds)
    elif kind == "npy":
        np.save(file, speeds)
    else:
        np.savetxt(file, speeds, delimiter=",")
    read = read_bandwidths(file)
    apart = ~np.eye(4, dtype=bool)
    assert read[apart] == pytest.approx(SPEEDS[apart], rel=1e-15)
    assert np.isinf(read.diagonal()).all()


@pytest.mark.parametrize(
    ("links", "complaint"),
    [
        ("{slow=0.5}", r"links\.slow would be without effect.*expected links\.up"),
        ("{file='cities14',slow=0.5}", r"links\.slow would be without effect"),
        ("{file='cities14',changes=[{until=1,factor=0.5}]}", r"links\.changes would be without effect"),
        ("{hosts=[0,0,0]}", "hosts are rows of links.file, which is not there"),
        ("{up=1,slowness=20}", "slowness is of slow nodes, of which there are none"),
        ("{both_ways=0.5}", "both_ways is a share of speeds"),
        ("{shared=[{nodes=[0,1]}]}", "a shared link has a speed"),
        ("{up=1,slow=0.02}", "of 24 nodes that is none; expected more than 0.0208"),
        ("{up=20_000_000}", "less than or equal to 1000000"),
        ("{shared=[{nodes=[0],up=2e6}]}", "less than or equal to 1000000"),
    ],
)
def test_settings_of_links_without_effect_are_refused(links, complaint):
    with pytest.raises(InvalidScenario, match=complaint):
        conditions(small(f"network.links={links}"))


def test_nodes_sit_at_the_hosts_that_a_scenario_names(tmp_path):
    file = tmp_path / "rtt.npz"
    np.savez(file, rtt=100.0 * np.arange(9).reshape(3, 3))
    hosts = [2, 0, 1] * 8
    found = conditions(small(f"network.delay={{kind='matrix',file='{file}',hosts={hosts}}}"))
    assert found.hosts.tolist() == hosts
    assert laws.delay(found, 0, 1, 5) == 6 * SECOND // 20  # half of the 600 ms from host 2 to host 0
    for wrong in ([2, 0, 1], [3] * 24):
        with pytest.raises(InvalidScenario, match=r"hosts: .* a number from 0 to 2 for each of 24 nodes"):
            conditions(small(f"network.delay={{kind='matrix',file='{file}',hosts={wrong}}}"))


def test_contradictions_are_refused():
    with pytest.raises(SettingError, match="token accounts"):
        conditions(small("algorithm.flow.kind=simple", "algorithm.exchange=pull"))


def test_arithmetic_agrees_with_the_library():
    for x in np.linspace(-300, 300, 601):
        assert exact_exp(x) == pytest.approx(np.exp(x), rel=2e-15)
    for x in np.logspace(-200, 200, 601):
        assert exact_log(x) == pytest.approx(np.log(x), rel=1e-14, abs=1e-15)
    for t in np.linspace(-2, 2, 401):
        assert exact_sine_turn(t) == pytest.approx(np.sin(2 * np.pi * t), abs=1e-14)
    for p in np.linspace(1e-6, 1 - 1e-6, 301):
        assert normal_quantile(p) == pytest.approx(scipy.stats.norm.ppf(p), rel=2e-9, abs=1e-12)


def test_draws_follow_their_laws():
    u = np.array([uniform(5, LOSS, node, 0) for node in range(4000)])
    assert scipy.stats.kstest(u, "uniform").pvalue > 1e-3
    along = np.array([uniform(5, LOSS, 0, counter) for counter in range(4000)])
    assert scipy.stats.kstest(along, "uniform").pvalue > 1e-3
    whole = np.bincount([below(5, NEIGHBOUR, 1, k, 7) for k in range(7000)], minlength=7)
    assert scipy.stats.chisquare(whole).pvalue > 1e-3
    lengths = [lognormal(x, 3.0, 0.5) for x in u]
    assert scipy.stats.kstest(lengths, "lognorm", args=(0.5, 0, 3.0)).pvalue > 1e-3
    lengths = [weibull(x, 2.0, 0.7) for x in u]
    assert scipy.stats.kstest(lengths, "weibull_min", args=(0.7, 0, 2.0)).pvalue > 1e-3


GOLDEN = "abf667152c9f104a"
