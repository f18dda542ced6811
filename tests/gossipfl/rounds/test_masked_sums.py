"""Masked sums in rounds: what they refuse, and what a member makes of one."""

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gossipfl.algorithms import Exchange
from gossipfl.codecs import FLOAT32, codec
from gossipfl.errors import SettingError, SummandsExposed, UnexpectedTensor
from gossipfl.outgoing import Pipeline, SharedMask
from gossipfl.peer.membership.charter import charter_of
from gossipfl.rounds import encoded_for, mixed, mixed_sum, outgoing, plan_of
from gossipfl.rounds.sums import RING_ROWS
from gossipfl.secure import ring_sum
from tests.gossipfl.rounds.test_plan import IDS, TASK, settings, trainer

COMPLETE = f"complete:{len(IDS)}"


def plan(*, me=0, pipeline=None, **rounds):
    given = settings(**{"topology": COMPLETE, "masked_sums": True, **rounds})
    return plan_of(
        given, peer_id=IDS[me], trainer=trainer(given), outgoing=pipeline or Pipeline(codec=FLOAT32)
    )


@pytest.mark.parametrize("name", ["d_psgd", "dfedavg", "gradient_tracking", "exact_diffusion", "qg_dsgdm"])
def test_algorithms_that_average_rows_may_mask_their_sums(name):
    assert plan(algorithm=name).ring.fraction == 24


@pytest.mark.parametrize(
    ("rounds", "words"),
    [
        ({"algorithm": "sgp"}, "sgp needs its neighbours' rows, or sends mass"),
        ({"algorithm": "clipped_gossip"}, "clipped_gossip needs its neighbours' rows"),
        ({"algorithm": "relay_sgd", "topology": "path:6"}, "relay_sgd needs its neighbours' rows"),
        ({"algorithm": "choco", "parameters": {"codec": "top:0.5", "restart_every": 4}}, "not as top:0.5"),
        ({"pipeline": Pipeline(codec=codec("int8"))}, "not as int8.*a mask"),
        ({"sums_range": 0.0}, "sums_range"),
    ],
    ids=str,
)
def test_what_masked_sums_cannot_serve_is_refused_by_name(rounds, words):
    with pytest.raises(SettingError, match=words):
        plan(**rounds)


@pytest.mark.parametrize("topology", ["ring:6", "one-peer-exponential:6", "path:6", "star:6"])
def test_a_member_with_fewer_than_three_neighbours_is_refused(topology):
    with pytest.raises(SummandsExposed, match="3 to 128 neighbours"):
        plan(topology=topology)


def test_members_must_agree_on_masking_and_on_its_range():
    given = [plan(), plan(masked_sums=False), plan(sums_range=128.0), plan(sums_range=40.0)]
    assert len({each.agreement for each in given}) == 3  # 40 is rounded up to 64, as by default
    assert given[0].agreement == given[3].agreement
    names = [
        set(charter_of(settings(topology=COMPLETE, masked_sums=masked), TASK, layout=bytes(32)))
        for masked in (True, False)
    ]
    assert names[0] - names[1] == {"rounds.masked_sums", "rounds.sums_range"}


@hypothesis_settings(max_examples=25, deadline=None)
@given(
    st.sets(st.sampled_from(range(1, 6))),
    st.booleans(),
    st.sampled_from([Pipeline(codec=FLOAT32), Pipeline(transformations=(SharedMask(0.5),))]),
)
def test_the_sum_is_the_average_but_for_half_a_unit_of_each_row(arrived, listening, pipeline):
    plans = [plan(me=member, pipeline=pipeline) for member in range(6)]
    plain = plan(pipeline=pipeline, masked_sums=False)
    size, generator = plans[0].forms[0].size, torch.Generator().manual_seed(len(arrived))
    exchanges = [Exchange(torch.randn(1, size, generator=generator)) for _ in plans]
    outs = [outgoing(each, (3, 0), exchange) for each, exchange in zip(plans, exchanges, strict=True)]
    encoded = [encoded_for(plans[member], (3, 0), outs[member], 0) for member in sorted(arrived)]
    total = ring_sum(encoded, like=encoded[0]) if encoded else None
    summed = mixed_sum(plans[0], (3, 0), outs[0], total, arrived, listening=listening)
    rows = {member: outs[member].sent[0] for member in arrived}
    out = outgoing(plain, (3, 0), exchanges[0])
    averaged = mixed(plain, (3, 0), out, rows, untaken=(), listening=listening)
    assert summed.rows.shape == averaged.rows.shape == (1, size)
    assert (summed.rows - averaged.rows).abs().max() <= 6 * 2.0**-24 + 1e-6
    assert summed.sent.equal(averaged.sent)
    assert (out.columns is None) == (pipeline.mask is None)


def test_rows_that_are_not_ring_elements_are_not_written():
    with pytest.raises(UnexpectedTensor, match="int32"):
        RING_ROWS.encode(torch.ones(3))
