"""Estimates of a whole network: sketches, samples that all end alike, liars of bounded weight, and real peers."""

import dataclasses
import math
import random
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipfl.consensus import consensus_distance
from gossipfl.errors import ExchangeFailed, MalformedStatement
from gossipfl.network import Identity
from gossipfl.network.failures import StreamFailure
from gossipfl.peer.estimates import gossip
from gossipfl.peer.estimates.sample import MOST_REPORTS, Sample
from gossipfl.peer.estimates.summary import estimates_from
from gossipfl.settings.addresses import public_key_of
from gossipfl.sketches import sketches
from gossipfl.wire.reports import REPORT_BYTES, SKETCH_WIDTH, Report, order_of, read_report, write_report
from tests.gossipfl.network.helpers import in_trio
from tests.integration.peers import network_of

TASK = bytes(range(32))
EPOCH = 7


def report_of(identity, *, metric=0.5, sketch=None, epoch=EPOCH, task=TASK):
    report = Report(
        key=public_key_of(identity.peer_id),
        epoch=epoch,
        metric=metric,
        sketch=tuple(sketch) if sketch is not None else (0.0,) * SKETCH_WIDTH,
    )
    return write_report(report, task=task, sign=identity.sign)


def test_sketches_keep_squared_distances_on_average_and_as_closely_as_claimed():
    rows = torch.randn(2, 5000, generator=torch.Generator().manual_seed(0))
    true = float(((rows[0] - rows[1]) ** 2).sum())
    made = [sketches(rows, 5000, key=key, width=SKETCH_WIDTH) for key in range(200)]
    ratios = np.array([float(((each[0] - each[1]) ** 2).sum()) / true for each in made])
    deviation = math.sqrt(2 / SKETCH_WIDTH)
    assert abs(ratios.mean() - 1) < 4 * deviation / math.sqrt(200)
    assert ratios.std() < 1.3 * deviation


def test_sketches_of_long_rows_look_at_bounded_many_places():
    size = 2**19
    rows = torch.randn(2, size, generator=torch.Generator().manual_seed(1))
    true = float(((rows[0] - rows[1]) ** 2).sum())
    ratios = [
        float((torch.diff(sketches(rows, size, key=key, width=SKETCH_WIDTH), dim=0) ** 2).sum()) / true
        for key in range(12)
    ]
    assert abs(np.mean(ratios) - 1) < 4 * math.sqrt(2 / SKETCH_WIDTH / 12)


def test_what_stays_local_is_no_part_of_a_sketch():
    rows = torch.ones(2, 20)
    rows[1, 10:] = 5.0
    made = sketches(rows, 10, key=3, width=SKETCH_WIDTH)
    assert torch.equal(made[0], made[1])


def gossiped(encoded, *, rounds, seed=0):
    """Samples of as many nodes, after some rounds in which everybody asks a random other one."""
    samples = []
    for each in encoded:
        sample = Sample(TASK, EPOCH)
        sample.add(each)
        samples.append(sample)
    draw = random.Random(seed)
    for _ in range(rounds):
        for one in samples:
            other = draw.choice([each for each in samples if each is not one])
            lacking = sorted(set(other.known) - set(one.known))
            wanted = other.missing(one.known)
            one.add(other.encoded(lacking))
            other.add(one.encoded(wanted))
    return samples


@pytest.mark.parametrize("count", [5, 40, 300])
def test_a_simulated_network_estimates_itself(count):
    generator = np.random.default_rng(count)
    accuracies = generator.uniform(0.6, 0.9, count)
    rows = torch.from_numpy(generator.normal(size=(count, 400)).astype(np.float32))
    made = sketches(rows, 400, key=EPOCH, width=SKETCH_WIDTH)
    identities = [Identity.generate() for _ in range(count)]
    encoded = [
        report_of(identity, metric=accuracy, sketch=sketch.tolist())
        for identity, accuracy, sketch in zip(identities, accuracies, made, strict=True)
    ]
    samples = gossiped(encoded, rounds=8)
    assert len({sample.known for sample in samples}) == 1  # everybody ends alike
    sample = samples[0]
    found = estimates_from(sample.reports, sample.known, epoch=EPOCH, metric="accuracy")
    if count < MOST_REPORTS:
        assert (found.peers, found.is_exact) == (count, True)
        assert found.mean == pytest.approx(accuracies.mean(), abs=1e-6)
    else:
        assert len(sample.known) == MOST_REPORTS
        assert found.peers == pytest.approx(count, rel=4 / math.sqrt(MOST_REPORTS - 2))
        assert found.mean == pytest.approx(accuracies.mean(), abs=4 * 0.087 / math.sqrt(MOST_REPORTS))
    assert found.consensus_distance == pytest.approx(consensus_distance(rows, 400), rel=0.5)


def test_a_liar_moves_a_mean_no_further_than_its_share_of_the_spread():
    honest = np.linspace(0.7, 0.8, 19)

    def mean(*lies):
        reports = [
            Report(key=bytes([i]) * 32, epoch=EPOCH, metric=value, sketch=(value,) * SKETCH_WIDTH)
            for i, value in enumerate([*honest, *lies])
        ]
        return estimates_from(reports, range(len(reports)), epoch=EPOCH, metric="accuracy")

    plain, lied = mean(), mean(1e30)
    assert lied.mean - plain.mean < 5 * 0.1 / 20
    assert lied.consensus_distance < 8 * plain.consensus_distance
    assert mean(-1e30, 1e30).mean == pytest.approx(plain.mean, abs=0.01)


def test_one_identity_has_one_report():
    sample, liar = Sample(TASK, EPOCH), Identity.generate()
    for metric in (0.1, 0.9, 0.5):
        sample.add(report_of(liar, metric=metric))
    assert [each.metric for each in sample.reports] == [pytest.approx(0.1)]


def test_reports_that_are_forged_or_about_another_epoch_or_task_are_not_taken():
    someone = Identity.generate()
    good = report_of(someone)
    assert read_report(good, task=TASK).key == public_key_of(someone.peer_id)
    for position in (0, 33, 41, 60, REPORT_BYTES - 1):
        broken = bytearray(good)
        broken[position] ^= 1
        with pytest.raises(MalformedStatement):
            read_report(bytes(broken), task=TASK)
    with pytest.raises(MalformedStatement):
        read_report(good, task=bytes(32))
    with pytest.raises(MalformedStatement, match="length"):
        Sample(TASK, EPOCH).add(good + b"x" * 40)
    sample = Sample(TASK, EPOCH)
    sample.add(report_of(someone, epoch=EPOCH + 1))
    assert not sample.known
    for value in (math.inf, math.nan, 1e30):
        with pytest.raises(MalformedStatement):
            sample.add(report_of(someone, sketch=[value] * SKETCH_WIDTH))


def test_strangers_are_not_counted():
    member, stranger = Identity.generate(), Identity.generate()
    sample = Sample(TASK, EPOCH, is_stranger=lambda key: key == public_key_of(stranger.peer_id))
    sample.add(report_of(member) + report_of(stranger))
    assert [each.key for each in sample.reports] == [public_key_of(member.peer_id)]


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=300, unique=True), st.randoms())
@settings(max_examples=30, deadline=None)
def test_a_full_sample_wants_only_earlier_reports(keys, draw):
    places = sorted(order_of(TASK, key, EPOCH) for key in keys)
    sample = Sample(TASK, EPOCH)
    sample._reports = dict.fromkeys(draw.sample(places, min(len(places), MOST_REPORTS)), (None, b""))
    union = sorted({*sample.known, *sample.missing(places)})[:MOST_REPORTS]
    assert union == places[:MOST_REPORTS]


@in_trio
async def test_real_peers_agree_on_their_network(tmp_path):
    async with network_of(tmp_path, 3, estimates={"period": 2.0}) as peers:
        with trio.fail_after(90):
            while True:
                found = [peer.status().estimates for peer in peers]
                if all(each and each["peers"] == 3 and each["mean"] is not None for each in found):
                    break
                await trio.sleep(0.1)
        assert all(each["is_exact"] and each["consensus_distance"] >= 0 for each in found)
        assert all(0 <= each["least"] <= each["mean"] <= each["most"] <= 1 for each in found)


def _opening(epoch, *, places=()):
    return epoch.to_bytes(8, "little") + bytes([len(places)]) + b"".join(places)


@in_trio
async def test_hostile_openers_are_refused_and_change_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(gossip, "_TICKS", 1e-3)  # none in time
    limits = dataclasses.replace(gossip._LIMITS, streams_per_second=100.0)
    monkeypatch.setattr(gossip, "_LIMITS", limits)
    async with network_of(tmp_path, 2) as (victim, attacker):
        host, target = attacker._incarnation.host, victim._incarnation
        with trio.fail_after(30):
            while target.identity.peer_id not in host.connected():
                await trio.sleep(0.05)
        now, peer_id, addresses = target.reports._epoch(), target.identity.peer_id, target.host.addresses
        forged = bytearray(report_of(Identity.generate(), epoch=now, task=victim.task.fingerprint))
        forged[-1] ^= 1

        async def opened(data):
            bare = [each.partition("/p2p/")[0] for each in addresses]
            stream = await host.services.open(peer_id, [gossip.ESTIMATES_PROTOCOL], addresses=bare)
            await stream.write(data)
            return stream

        for epoch in (now + 1000, 2**64 - 1):  # somebody's clock is wrong, which is no offence
            with trio.fail_after(30):
                assert await (await opened(_opening(epoch))).read_some(1) == b""
        assert victim.counters.refused["malformed_statement"] == 0
        for hostile in (
            _opening(now, places=[bytes(8)] * 65),
            _opening(now) + b"\xff",
            _opening(now) + b"\x01" + bytes(forged),
            _opening(now) + b"\x01" + bytes(REPORT_BYTES),
        ):
            refused = victim.counters.refused["malformed_statement"]
            with trio.fail_after(30):
                while victim.counters.refused["malformed_statement"] == refused:
                    with suppress(ExchangeFailed, StreamFailure):  # it is disconnected, and connects again
                        await opened(hostile)
                    with trio.move_on_after(1.0):
                        while victim.counters.refused["malformed_statement"] == refused:
                            await trio.sleep(0.02)
        keys = {report.key for sample in target.reports._samples.values() for report in sample.reports}
        assert keys <= {public_key_of(each._incarnation.identity.peer_id) for each in (victim, attacker)}


def test_the_size_of_a_report_is_the_documented_one():
    page = (Path(__file__).parents[4] / "docs" / "wire-protocol.md").read_text()
    assert f"It has {REPORT_BYTES} bytes:" in page
    assert f"| {REPORT_BYTES - 64} | 64 | bytes | signature of" in page
    assert f"{SKETCH_WIDTH} × f32" in page
