"""Bounds where rows are changed after their noise: beside dense linear algebra, exact losses and attacks."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import example, given, settings

from gossipfl.privacy import gaussian_guarantee
from gossipfl.privacy.factorised import sensitivities
from gossipfl.settings.outgoing import ClipSettings as C
from gossipfl.settings.outgoing import MaskSettings as M
from gossipfl.settings.outgoing import NoiseSettings as N
from sims.privacy.account import account_of
from sims.privacy.attacks.trials import trials_of_rows
from sims.privacy.bounds import bound_of, square_shift_of_sent
from sims.privacy.errors import NotAccountable
from sims.privacy.knowledge import knowledge_of
from sims.privacy.leaving import leaving_of
from sims.privacy.report import report_of
from sims.privacy.sources import run_of_scenario
from sims.privacy.value_noise import ValueNoise, with_noise_on_values
from sims.privacy.views import known_to
from sims.scenario import parse_scenario
from sims.world.networks import round_network
from tests.sims.privacy.test_noise_of_scenarios import account, by_hand, cases, written

SCENARIO = """
[population]
nodes = 6
[topology]
name = "{topology}"
[algorithm]
name = "{algorithm}"
[training]
{training}
[stop]
rounds = 4
{more}
"""
NOISE = "[[outgoing]]\nkind = 'noise'\ndeviation = 0.5\n"
CLIP = "[[outgoing]]\nkind = 'clip'\nnorm = 1.5\n"
MASK = "[[outgoing]]\nkind = 'mask'\nshare = 0.5\n"
CODEC = "[[outgoing]]\nkind = 'codec'\nname = 'qsgd:16:128'\n"
PRIVATE = "privacy = {{ clip = 1.0, noise_multiplier = 2.0{} }}\nbatch_size = 60"


def accounted(tmp_path, *, training="clip_norm = 0.5", more="", algorithm="d_psgd", topology="ring", **asked):
    file = tmp_path / "scenario.toml"
    text = SCENARIO.format(training=training, more=more, algorithm=algorithm, topology=topology)
    file.write_text(text, encoding="utf-8")
    return account_of([str(file)], delta=1e-5, **asked)


def told(run, node, other):
    """The largest square shift of another's view: without other noise by all signs, for `losses` are above it."""
    if run.noise is not None:
        return known_to(run, [other]).losses[node]
    own = np.flatnonzero(run.owners == node)
    block = knowledge_of(run, [other]).space.projector_block(own)
    return max(np.array(signs) @ block @ signs for signs in product([1.0, -1.0], repeat=len(own)))


ODD = {"nodes": 3, "rounds": 4, "topology": "random_matching", "algorithm": "d_psgd", "edges": 0.0}
ODD |= {"deviation": 0.5, "outgoing": 0.0, "mixings": 1, "private": "none", "bands": 1, "momentum": 0.5}
ODD |= {"observers": {0}, "sees_all": False}


@given(cases())
@example(ODD)
@example(ODD | {"rounds": 3, "bands": 2})
@settings(max_examples=25, deadline=None)
def test_what_a_node_sends_tells_as_much_as_by_hand_to_all_others_together(case):
    case = case | {"observers": {0}, "sees_all": False}
    scenario = written(case)
    run, values = account(scenario)
    own = values.deviations[0] / values.sensitivities[0]
    network = round_network(scenario).sequence
    apart = 4 if case["private"] == "cyclic" else None
    book = by_hand(case, [network.matrix(t).toarray() for t in range(case["rounds"])], asked=own)
    plain = run if run.noise is not None else account(scenario, noise=None)[0]
    noisy = plain if plain.noise is not None else with_noise_on_values(plain, values, in_units=False)
    for node in range(case["nodes"]):
        others = [other for other in range(case["nodes"]) if other != node]
        expected = book.losses(others, phase=lambda step: step % apart if apart else 0)[node]
        found = square_shift_of_sent(noisy, node)
        if own and (case["private"] != "cyclic" or case["bands"] == 1):
            steps = math.ceil(case["rounds"] / apart) if apart else case["rounds"]
            expected = min(expected, steps / own**2)
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-10)
        assert (
            found
            >= max(told(run, node, other) / (1.0 if run.noise is not None else own**2) for other in others)
            - 1e-9
        )


@pytest.mark.parametrize("algorithm", ["d_psgd", "gossip_learning"])
def test_a_codec_after_noise_is_bounded_by_what_is_sent_before_it(tmp_path, algorithm):
    found = accounted(tmp_path, more=NOISE + CODEC, algorithm=algorithm)
    plain = accounted(tmp_path, more=NOISE, algorithm=algorithm)
    assert plain.bound is None
    assert found.bound.after == ("qsgd:16:128",)
    reports = [
        report_of(each.run, noise=None, delta=1e-5, bound=each.bound, coalitions=[2])
        for each in (found, plain)
    ]
    others = np.array([[node != seen for node in range(6)] for seen in range(6)])
    assert (reports[0].losses >= reports[1].losses - 1e-9)[others].all()
    assert reports[0].coalitions[0].loss >= reports[1].coalitions[0].loss
    assert reports[0].local.epsilon >= reports[1].worst.epsilon
    assert reports[0].to_dict()["exact"] is False
    assert reports[1].to_dict()["exact"] is True


def test_each_row_that_was_clipped_before_its_noise_is_a_mechanism_of_its_own(tmp_path):
    found = accounted(tmp_path, training="learning_rate = 9.0", more=CLIP + NOISE)
    assert found.bound.squares == pytest.approx(np.full(6, 4 * (2 * 1.5 / 0.5) ** 2))
    twice = accounted(tmp_path, algorithm="muffliato_sgd", training="", more=CLIP + NOISE)
    assert (twice.bound.squares <= 4 * 36.0 + 1e-9).all()
    assert twice.bound.squares.max() == pytest.approx(4 * 4.0)  # the algorithm's own noise hides more


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        ("", 4 / 2.0**2),
        (", sampling = 'cyclic'", 1 / 2.0**2),
        (", sampling = 'cyclic', bands = 2", float((sensitivities(2, apart=4, steps=4) ** 2).sum()) / 4),
    ],
)
def test_a_mask_shows_no_more_than_all_noisy_values(tmp_path, sampling, expected):
    found = accounted(tmp_path, training=PRIVATE.format(sampling), more=MASK)
    assert found.bound.squares == pytest.approx(np.full(6, expected), rel=1e-6)


def test_what_nothing_bounds_is_refused_by_name(tmp_path):
    with pytest.raises(NotAccountable, match="nobody knows how far"):
        accounted(tmp_path, training="", more=NOISE + CODEC)
    with pytest.raises(NotAccountable, match=r"nothing bounds.*mask"):
        accounted(tmp_path, more=MASK + NOISE)
    with pytest.raises(NotAccountable, match="compresses its rows"):
        accounted(tmp_path, algorithm='choco"\ncodec = "top:0.1', more=NOISE)


def test_nodes_that_nothing_arrives_from_lose_nothing(tmp_path):
    file = accounted(tmp_path, more=NOISE + CODEC)
    view = file.bound.view(file.run, [0])
    assert np.isinf(view.losses[0])
    assert (view.losses[1:] > 0).all()
    alone = account_of([str(tmp_path / "scenario.toml")], overrides=["stop.rounds=1"], delta=1e-5)
    assert (alone.bound.view(alone.run, [0]).losses[[2, 3, 4]] > 0).all()  # who is linked may be reached


@pytest.mark.parametrize(
    ("outgoing", "shift", "deviation", "changes"),
    [
        ((C(norm=2.0), N(deviation=4.0)), 1.0, 0.0, ("clip",)),
        ((N(deviation=3.0), C(norm=2.0), N(deviation=4.0)), 1.0, 3.0, ("clip",)),
        ((C(norm=9.0), N(deviation=3.0), N(deviation=4.0)), 3.6, 0.0, ("clip",)),
        ((N(deviation=3.0), N(deviation=4.0), M(share=0.5)), math.inf, 5.0, ("mask",)),
    ],
)
def test_noise_is_read_in_the_order_of_the_tables(outgoing, shift, deviation, changes):
    found = leaving_of(outgoing, "")
    assert (found.row_shift, found.deviation, found.changes) == (pytest.approx(shift), deviation, changes)
    assert leaving_of(outgoing, "int8").changes == (*changes, "int8")
    assert leaving_of(outgoing, "float32").changes == changes


def test_attacks_on_rows_that_went_through_a_codec_prove_less_than_the_bound():
    """The best test of the rows before it, done on the rows after it."""
    more = "[[outgoing]]\nkind = 'noise'\ndeviation = 0.9\n" + CODEC
    scenario = parse_scenario(
        SCENARIO.format(
            topology="ring", algorithm="d_psgd", training="learning_rate = 1.0\nbatch_size = 1", more=more
        ).replace(
            "[topology]",
            "[task]\nname = 'sims.privacy.attacks.canaries:coin_rows'\npartition = 'contiguous'\n"
            "options = { nodes = 6, numbers = 6000, size = 0.5 }\n[topology]",
        )
    )
    found = trials_of_rows(scenario, size=0.5, deviation=0.0, observers=[0], target=1)
    run = run_of_scenario(scenario, deviation=0.9)
    alike = ValueNoise(sensitivities=np.ones(6), deviations=np.zeros(6))
    bound = bound_of(run, leaving_of(scenario.outgoing, ""), alike)
    claimed = gaussian_guarantee(math.sqrt(bound.squares[1]), delta=1e-5).epsilon
    assert 0 < found.proven(delta=1e-5) < claimed
    assert found.shift**2 <= bound.squares[1]
