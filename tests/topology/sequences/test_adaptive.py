"""Adaptive matchings against the rule of the paper, followed by networkx from what was matched before."""

from collections import Counter

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from topology import sequences
from topology.catalogue import build
from topology.errors import InvalidParameter, TooLarge
from topology.sequences import adaptive
from topology.sequences.adaptive import MEMORY, adaptive_matching, matching_by_proposals, maximum_matching
from topology.sequences.keyed import draw

BOTH = ("maximum", "proposals")


def links_of(n, seed=0, *, largest=5.0):
    """Bandwidths, the same in both directions."""
    upper = np.triu(np.random.default_rng(seed).uniform(0, largest, (n, n)), 1)
    return upper + upper.T


def pairs_of(sequence, t):
    W = sequence.matrix(t).toarray()
    return {(int(i), int(j)) for i, j in zip(*np.nonzero(np.triu(W, 1)), strict=True)}


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(2, 13),
    threshold=st.floats(0, 5),
    recent=st.integers(1, 6),
    how=st.sampled_from(BOTH),
    seed=st.integers(0, 999),
)
def test_every_round_follows_the_rule_of_the_paper(n, threshold, recent, how, seed):
    links = links_of(n, seed)
    sequence = adaptive_matching(links, threshold, recent, how, seed)
    met = {}
    for t in range(24):
        lately = nx.Graph()
        lately.add_nodes_from(range(n))
        lately.add_edges_from(pair for pair, last in met.items() if t - last <= recent)
        candidates = nx.Graph()
        candidates.add_nodes_from(range(n))
        fast = nx.is_connected(lately)
        for i in range(n):
            for j in range(i):
                if links[i, j] > threshold if fast else not lately.has_edge(i, j):
                    candidates.add_edge(i, j)
        pairs = pairs_of(sequence, t)
        assert len(pairs) == n // 2  # who is left over is matched too; one rests if n is odd
        assert len({node for pair in pairs for node in pair}) == 2 * len(pairs)
        chosen = [pair for pair in pairs if candidates.has_edge(*pair)]
        most = len(nx.max_weight_matching(candidates, maxcardinality=True))
        if how == "maximum":
            assert len(chosen) == most
        else:
            assert nx.is_maximal_matching(candidates, set(chosen))
        met |= dict.fromkeys(pairs, t)


@pytest.mark.parametrize("match", [maximum_matching, matching_by_proposals])
def test_where_all_may_meet_all_perfect_matchings_are_equally_likely(match):
    everybody = np.ones((6, 6), dtype=bool)
    seen = Counter(tuple(match(everybody, key).tolist()) for key in range(1500))
    assert len(seen) == 15
    assert chisquare(list(seen.values())).pvalue > 1e-4
    assert all(partner != node for partners in seen for node, partner in enumerate(partners))


@settings(max_examples=25, deadline=None)
@given(n=st.integers(2, 12), p=st.floats(0, 1), key=st.integers(0, 2**64 - 1))
def test_proposals_need_no_coordinator(n, p, key):
    """Every node by itself, from its own links and their priorities, with answers of its neighbours alone."""
    links = links_of(n, key % 1000, largest=1.0) < p
    np.fill_diagonal(links, False)
    expected = matching_by_proposals(links, key)
    open_to = {i: {j for j in range(n) if links[i, j]} for i in range(n)}
    partner = {}
    while any(open_to.values()):
        asked = {
            i: max(others, key=lambda j, i=i: draw(key, min(i, j) * n + max(i, j)))
            for i, others in open_to.items()
            if others
        }
        for i in [i for i, j in asked.items() if asked.get(j) == i]:
            partner[i] = asked[i]
        for i in partner:
            open_to[i] = set()
        open_to = {i: others - partner.keys() for i, others in open_to.items()}
    assert expected.tolist() == [partner.get(i, i) for i in range(n)]


@pytest.mark.parametrize("how", BOTH)
def test_slow_links_are_used_less_than_by_random_matchings_and_rings(how):
    """Bandwidths U(0, 5), n = 32, B₀ = 4, T = 10: mean over 300 rounds of the slowest link of a round."""
    n, rounds = 32, 300
    slowest = {"adaptive": [], "random": [], "ring": []}
    for seed in (1,) if how == "maximum" else (1, 2):
        links = links_of(n, seed)
        for name, sequence in {
            "adaptive": adaptive_matching(links, 4.0, 10, how, seed),
            "random": sequences.random_matching(n, seed),
        }.items():
            slowest[name] += [min(links[pair] for pair in pairs_of(sequence, t)) for t in range(rounds)]
        slowest["ring"].append(min(links[i, (i + 1) % n] for i in range(n)))
    means = {name: np.mean(each) for name, each in slowest.items()}
    assert means["adaptive"] > 3 * means["random"]
    assert means["random"] > means["ring"]
    if how == "maximum":  # nearly all rounds have fast links alone, of which there is a fifth
        assert means["adaptive"] > 3.5


@pytest.mark.parametrize("how", BOTH)
def test_two_fast_islands_stay_connected_over_slow_links(how):
    n = 12
    links = np.full((n, n), 1.0)
    links[:6, :6] = links[6:, 6:] = 5.0
    sequence = adaptive_matching(links, 4.0, 5, how, 3)
    across = [sum((i < 6) != (j < 6) for i, j in pairs_of(sequence, t)) for t in range(60)]
    assert sum(count == 0 for count in across) > 30
    for t in range(50):  # as soon as they fall apart, all links not used lately are candidates
        assert any(across[t : t + 9])


def test_one_rests_and_nobody_more_often_than_others():
    sequence = adaptive_matching(links_of(7), 0.0, 3, "proposals", 4)
    resting = Counter()
    for t in range(350):
        (alone,) = set(range(7)) - {node for pair in pairs_of(sequence, t) for node in pair}
        resting[alone] += 1
    assert chisquare([resting[i] for i in range(7)]).pvalue > 1e-4


@pytest.mark.parametrize("how", BOTH)
def test_who_comes_late_finds_its_round_in_a_bounded_number_of_steps(how, monkeypatch):
    drawn = Counter()

    def counted(candidates, key, match=adaptive._MATCHINGS[how]):
        drawn["all"] += 1
        return match(candidates, key)

    monkeypatch.setitem(adaptive._MATCHINGS, how, counted)
    links, late = links_of(6), 2**40 + 17
    first = adaptive_matching(links, 3.0, 4, how, 1).matrix(late)
    assert drawn["all"] <= MEMORY
    going = adaptive_matching(links, 3.0, 4, how, 1)
    for t in range(late - 40, late + 1):  # across the round at which meetings are forgotten
        last = going.matrix(t)
    assert abs(first - last).nnz == 0
    assert drawn["all"] <= 3 * MEMORY


def test_a_pair_is_as_fast_as_its_slower_direction():
    one_way = np.random.default_rng(3).uniform(0, 5, (8, 8))
    slower, faster = np.minimum(one_way, one_way.T), np.maximum(one_way, one_way.T)

    def first_rounds(links):
        return [pairs_of(adaptive_matching(links, 2.0, 3, "maximum", 0), t) for t in range(30)]

    assert first_rounds(one_way) == first_rounds(slower)
    assert first_rounds(one_way) != first_rounds(faster)


def test_an_expression_reads_bandwidths_from_a_file(tmp_path):
    links = links_of(8)
    np.savetxt(tmp_path / "links.csv", links, delimiter=",")
    text = f"adaptive-matching:8,bandwidth={tmp_path / 'links.csv'},threshold=3,recent=4,seed=5"
    read, made = build(text).sequence, adaptive_matching(links, 3.0, 4, "maximum", 5)
    assert read.name == made.name
    assert all(abs(read.matrix(t) - made.matrix(t)).nnz == 0 for t in range(12))
    with pytest.raises(InvalidParameter, match=r"another number of nodes.*expected .9, 9"):
        build(text.replace(":8,", ":9,"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "to,from,weight\n99999999,99999999,1\n",
            "another number of nodes",
        ),  # 80 petabytes, were it unfolded
        ("to,from,weight\ninf,0,1\n", "holds no matrix"),
        ("to,from,weight\nnan,0,1\n", "holds no matrix"),
        ("to,from,weight\n1e300,0,1\n", "holds no matrix"),
        ("to,from,weight\n-1,0,1\n", "holds no matrix"),
        ("to,from,weight\n", "holds no matrix"),
        ("0,nan\n1,0\n", "bandwidth from node 0 to node 1 is not one"),
        ("0,inf\n1,0\n", "bandwidth from node 0 to node 1 is not one"),
        ("0,1\n-1,0\n", "bandwidth from node 1 to node 0 is not one"),
        ("0,1\n", "another number of nodes"),
    ],
)
def test_files_of_links_that_are_none_are_named_before_they_are_unfolded(tmp_path, text, said):
    (tmp_path / "links.csv").write_text(text)
    with pytest.raises(InvalidParameter, match=said):
        build(f"adaptive-matching:2,bandwidth={tmp_path / 'links.csv'}")


def test_links_are_part_of_the_name_by_which_members_agree():
    links = links_of(6)
    other = links.copy()
    other[0, 1] = other[1, 0] = links[0, 1] + 0.5
    assert adaptive_matching(links, 3.0).name != adaptive_matching(other, 3.0).name


@pytest.mark.parametrize(
    ("links", "about", "words"),
    [
        (np.ones((3, 4)), {}, "square matrix"),
        (np.ones(3), {}, "square matrix"),
        (np.zeros((0, 0)), {}, "square matrix"),
        ([[0, 1], [np.nan, 0]], {}, "from node 1 to node 0.*got nan"),
        ([[0, -2], [1, 0]], {}, "from node 0 to node 1.*at least 0"),
        ([[0, np.inf], [1, 0]], {}, "from node 0 to node 1"),
        (np.ones((4, 4)), {"threshold": -1.0}, "threshold is out of range"),
        (np.ones((4, 4)), {"recent": 0}, "recent is out of range"),
        (np.ones((4, 4)), {"matching": "luck"}, "matching is unknown"),
    ],
)
def test_wrong_links_and_parameters_are_named(links, about, words):
    with pytest.raises(InvalidParameter, match=words):
        adaptive_matching(links, **about)


def test_too_many_nodes_are_refused_with_the_way_out():
    with pytest.raises(TooLarge, match='matching="proposals"'):
        adaptive_matching(np.ones((129, 129)))
    adaptive_matching(np.ones((129, 129)), matching="proposals")
    with pytest.raises(TooLarge, match="random_matching"):
        adaptive_matching(np.ones((2049, 2049)), matching="proposals")


@pytest.mark.parametrize("n", [1, 2])
def test_the_smallest_networks(n):
    sequence = adaptive_matching(np.ones((n, n)), 2.0, 1)
    assert all(len(pairs_of(sequence, t)) == n // 2 for t in range(5))
