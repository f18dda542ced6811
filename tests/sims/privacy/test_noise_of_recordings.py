"""Noise of recorded peers: the accountant beside a short program that reads their records by itself."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sims.privacy.account import account_of
from sims.privacy.conditioning import view_of
from sims.privacy.errors import NotAccountable
from sims.privacy.value_noise import with_noise_on_values
from tests.gossipfl.network.helpers import in_trio, until
from tests.gossipfl.peer.rounds.networks_of_rounds import peers_in_rounds
from tests.gossipfl.peer.rounds.test_rounds import run_all
from tests.integration.peers import records_of, running
from tests.sims.privacy.dense import Book, added, square_shifts
from tests.sims.replay.recorded import recorded_run, rewrite
from topology import graphs, mixing

QUICK = {"gathering": 10.0, "deadline": 0.4, "patience": 2, "period": 0.03}
OWN, EDGE, CLIP, OUT, RATE = 2.0, 5.0, 1.0, 0.3, 0.1


def _records(homes: list[Path]) -> list[tuple[int, int, dict[str, Any]]]:
    """Peer, start and record: all of them."""
    found = []
    for place, home in enumerate(homes):
        for file in sorted((home / "records").glob("*.jsonl")):
            lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
            found += [(place, lines[0]["incarnation"], line) for line in lines]
    return found


def _decor_by_hand(homes: list[Path], weights: np.ndarray) -> Book:
    """DECOR with noise on what leaves; every peer has one start."""
    records, book = _records(homes), Book()
    mixes = {(p, r["round"]): r for p, _, r in records if r["kind"] == "mix"}
    links = {(p, r["round"]): r["members"] for p, _, r in records if r["kind"] == "links"}
    ended = {(p, r["round"]) for p, _, r in records if r["kind"] == "round"}
    held: dict[int, dict] = defaultdict(dict)
    taking_part = set(mixes) | {(m, number) for (_, number), mix in mixes.items() for m in mix["members"]}
    for number in sorted({number for _, number in taking_part}):
        now = sorted(p for p, at in taking_part if at == number)
        trained, sent = {}, {}
        for peer in now:
            book.values[peer, number] = 2 * CLIP
            book.normal(("own", peer, number), peer)
            gradient = {(peer, number): 1.0, ("own", peer, number): OWN}
            for other in np.flatnonzero(weights[peer]):
                if other == peer:
                    continue
                ends = (min(peer, int(other)), max(peer, int(other)))
                shared = other in links[peer, number]
                name = ("edge", *ends, number) if shared else ("apart", peer, int(other), number)
                book.normal(name, *(ends if shared else [peer]))
                gradient = added((1.0, gradient), (EDGE if peer < other else -EDGE, {name: 1.0}))
            trained[peer] = added((1.0, held[peer]), (-RATE, gradient))
            sent[peer] = added((1.0, trained[peer]), (OUT, book.normal(("out", peer, number), peer)))
        for peer in now:
            mix = mixes.get((peer, number))
            if mix is None:
                continue
            mine = weights[peer].copy()
            for other in np.flatnonzero(mine):
                if other != peer and other not in mix["members"]:
                    mine[peer] += mine[other]
                    mine[other] = 0.0
            book.seen += [(peer, sent[other]) for other in mix["members"]]
            merging = {p for p in now if (p, number) in mixes and peer in mixes[p, number]["members"]}
            around = set(np.flatnonzero(weights[:, peer])) - {peer, *mix["unsent"]} - merging
            book.seen += [(int(other), sent[peer]) for other in around]
            if (peer, number) in ended:
                held[peer] = added(*((mine[other], sent[other]) for other in np.flatnonzero(mine)))
    return book


@in_trio
async def test_shared_noise_of_peers_that_drop_out_is_accounted_for_as_by_hand(tmp_path: Path) -> None:
    parameters = {"clip": CLIP, "deviation": OWN, "edge_deviation": EDGE}
    peers = peers_in_rounds(
        tmp_path,
        4,
        rounds={**QUICK, "algorithm": "decor", "parameters": parameters},
        training={"learning_rate": RATE},
        outgoing=[{"kind": "noise", "deviation": OUT}],
    )
    homes = [peer.home.directory for peer in peers]
    async with running(*peers[:3]):
        async with running(peers[3]):
            await until(lambda: peers[3].status().event >= 3)
        await until(lambda: sum(3 in mix["missing"] for mix in records_of(peers[0].home, "mix")) >= 3)
    account = account_of([str(home) for home in homes], delta=1e-5)
    assert account.values.sensitivities.tolist() == [2 * CLIP] * 4
    book = _decor_by_hand(homes, mixing.metropolis_hastings(graphs.ring(4)).toarray())
    assert any(name[0] == "edge" for name in book.knowers)
    for observers in ([0], [2], [3], [0, 2], [0, 1, 2]):
        expected, found = book.losses(observers), view_of(account.run, observers).losses
        for node, loss in expected.items():
            most = sum(1 for name in book.values if name[0] == node) * (2 * CLIP / OWN) ** 2
            assert found[node] == pytest.approx(min(loss, most), rel=1e-6)

    def without_links(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [each for each in records if each["kind"] != "links"]

    rewrite(next(iter((homes[1] / "records").glob("*.jsonl"))), without_links)
    with pytest.raises(NotAccountable, match="did not record with whom it shared noise"):
        account_of([str(home) for home in homes], delta=1e-5)


@in_trio
async def test_copies_and_bands_of_peers_tell_what_the_same_rounds_in_a_scenario_tell(tmp_path: Path) -> None:
    """One start each and nobody missing: the run of a scenario."""
    privacy = {"clip": 1.0, "noise_multiplier": 1.5, "sampling": "cyclic", "bands": 2}
    training = {"privacy": privacy, "batch_size": 4, "learning_rate": RATE}
    rounds = {"gathering": 20.0, "topology": "complete:3", "stop_after": 3, "algorithm": "zip_dl"}
    peers = peers_in_rounds(
        tmp_path, 3, rounds={**rounds, "parameters": {"deviation": 0.5}}, training=training
    )
    await run_all(peers)
    samples = {r["samples"] for _, _, r in _records([p.home.directory for p in peers]) if "samples" in r}
    file = tmp_path / "rounds.toml"
    file.write_text(
        "[population]\nnodes = 3\n[topology]\nname = 'complete'\n[algorithm]\nname = 'zip_dl'\ndeviation = 0.5\n"
        "[training]\nlearning_rate = 0.1\nbatch_size = 4\n[training.privacy]\nclip = 1.0\n"
        "noise_multiplier = 1.5\nsampling = 'cyclic'\nbands = 2\n[stop]\nrounds = 3\n",
        encoding="utf-8",
    )
    recorded = account_of([str(peer.home.directory) for peer in peers], delta=1e-5)
    simulated = account_of([str(file)], delta=1e-5)
    assert recorded.values.sensitivities == pytest.approx(simulated.values.sensitivities)
    assert min(samples) > 3 * 4  # no sample twice
    for observers in ([0], [1], [0, 1]):
        one, other = view_of(recorded.run, observers), view_of(simulated.run, observers)
        np.testing.assert_allclose(one.losses, other.losses, rtol=1e-6)
        assert (one.losses[2] < math.inf) == (len(observers) == 1) or one.losses[2] < (2 / 1.5) ** 2


def test_noise_on_models_that_gossip_sends_is_accounted_for(tmp_path: Path) -> None:
    """One of the peers is killed and comes back; noise is on every message, and on no model that is kept."""
    outgoing = [{"kind": "noise", "deviation": OUT}]

    def noisy(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{**r, "settings": changed(r["settings"])} if "settings" in r else r for r in records]

    def changed(settings: str) -> str:
        return json.dumps({**json.loads(settings), "outgoing": outgoing})

    recorded = recorded_run(tmp_path, peers=3, rounds=4)
    for file in (file for home in recorded for file in (home / "records").glob("*.jsonl")):
        rewrite(file, noisy)
    homes = [str(home) for home in recorded]
    with pytest.raises(NotAccountable, match="how far a node's data move"):
        account_of(homes, delta=1e-5)
    run = account_of(homes, sensitivity=0.5, delta=1e-5).run
    assert (~run.noise.private).sum() == sum(len(stage.receivers) for stage in run.stages)
    for observers in ([0], [1], [0, 1]):
        rows = np.vstack(list(run.messages(observers)))
        known = run.noise.known_to(run.owners, observers)
        values = np.flatnonzero(run.noise.private & ~known)
        expected = square_shifts(
            rows[:, values] * 0.5,
            (rows * run.noise.deviations)[:, ~known],
            run.owners[values],
            np.zeros(len(values), dtype=int),
        )
        found = view_of(run, observers).losses
        for node, loss in expected.items():
            assert found[node] == pytest.approx(loss, rel=1e-6)
        assert 0 < max(expected.values()) < math.inf


@in_trio
async def test_rows_that_are_changed_after_their_noise_are_bounded(tmp_path: Path) -> None:
    """A codec of four bits, and a clip before the noise, of peers that recorded their rounds."""
    rounds = {"gathering": 20.0, "topology": "complete:3", "stop_after": 3}
    noise = {"kind": "noise", "deviation": OUT, "recorded": True}
    for name, tables in {
        "codec": [noise, {"kind": "codec", "name": "qsgd:16:128"}],
        "clip": [{"kind": "clip", "norm": 0.6}, noise],
    }.items():
        (tmp_path / name).mkdir()
        peers = peers_in_rounds(
            tmp_path / name, 3, rounds=rounds, outgoing=tables, training={"clip_norm": CLIP}
        )
        await run_all(peers)
        homes = [str(peer.home.directory) for peer in peers]
        account = account_of(homes, delta=1e-5)
        assert account.bound is not None
        if name == "clip":
            np.testing.assert_allclose(account.bound.squares, 3 * (1.2 / OUT) ** 2)
        else:
            noisy = with_noise_on_values(account.run, account.values, in_units=False)
            others = [[other for other in range(3) if other != node] for node in range(3)]
            exact = [view_of(noisy, each).losses[node] for node, each in enumerate(others)]
            np.testing.assert_allclose(account.bound.squares, exact, rtol=1e-6)
