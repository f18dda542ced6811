"""Peers that learned in rounds: their records read by the accountant, and by a short program of its own."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gossipfl.peer import Peer
from sims.privacy.errors import NotAccountable
from sims.privacy.knowledge import knowledge_of
from sims.privacy.linear_run import LinearRun
from sims.privacy.sources import run_of
from sims.replay.errors import MissingPeer
from tests.gossipfl.network.helpers import in_trio, until
from tests.gossipfl.peer.rounds.networks_of_rounds import peers_in_rounds
from tests.gossipfl.peer.rounds.test_rounds import run_all
from tests.integration.peers import records_of, running
from tests.sims.replay.recorded import rewrite
from topology import graphs, mixing

Row = dict[Any, float]

QUICK = {"gathering": 10.0, "deadline": 0.4, "patience": 2}


def _records(homes: list[Path]) -> list[tuple[int, int, dict[str, Any]]]:
    """Peer, start and record: all of them."""
    found = []
    for place, home in enumerate(homes):
        for file in sorted((home / "records").glob("*.jsonl")):
            lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
            found += [(place, lines[0]["incarnation"], line) for line in lines]
    return found


def _sum(*parts: tuple[float, Row]) -> Row:
    total: Row = defaultdict(float)
    for weight, row in parts:
        for name, value in row.items():
            total[name] += weight * value
    return dict(total)


def _views_by_hand(
    homes: list[Path], weights: np.ndarray, momentum: float
) -> tuple[list[Any], dict[int, list[Row]]]:
    """D-PSGD, adapt then combine, one local step: values by name, and the rows that each peer received."""
    records = _records(homes)
    mixes = {(p, s, r["round"]): r for p, s, r in records if r["kind"] == "mix"}
    ended = {(p, s, r["round"]) for p, s, r in records if r["kind"] == "round"}
    resumed = {(p, s): (r["resumed_from"], r["event"]) for p, s, r in records if r["kind"] == "start"}
    taking_part = set(mixes)
    for (_, _, number), mix in mixes.items():
        taking_part |= {(m, s, number) for m, s in zip(mix["members"], mix["incarnations"], strict=True)}
    state: dict[tuple[int, int, int], tuple[Row, Row]] = {}  # by peer, start and round: before it
    names, seen = [], defaultdict(list)

    def before(peer: int, start: int, number: int) -> tuple[Row, Row]:
        earlier = [at for p, s, at in state if (p, s) == (peer, start) and at <= number]
        if earlier:
            return state[peer, start, max(earlier)]
        came_from, event = resumed[peer, start]
        return ({}, {}) if came_from is None else before(peer, came_from, event)

    for number in sorted({at for _, _, at in taking_part}):
        rows = {}
        now = sorted((p, s) for p, s, at in taking_part if at == number)
        for peer, start in now:
            row, velocity = before(peer, start, number)
            mix = mixes.get((peer, start, number))
            if mix is not None and mix["listening"]:
                velocity = {}
            names.append((peer, start, number))
            velocity = _sum((momentum, velocity), (1.0, {names[-1]: 1.0}))
            rows[peer, start] = _sum((1.0, row), (1.0, velocity)), velocity
        for peer, start in now:
            mix = mixes.get((peer, start, number))
            if mix is None:
                continue
            merged = dict(zip(mix["members"], mix["incarnations"], strict=True))
            mine = weights[peer].copy()
            for other in np.flatnonzero(mine):
                if other != peer and other not in merged:
                    mine[peer] += mine[other]
                    mine[other] = 0.0
            if mix["listening"] and merged:
                mine[peer] = 0.0
                mine /= mine.sum()
            starts = {**merged, peer: start}
            parts = [(mine[other], rows[other, starts[other]][0]) for other in np.flatnonzero(mine)]
            seen[peer] += [rows[other, start_of][0] for other, start_of in merged.items()]
            if not mix["listening"]:
                around = [o for o in np.flatnonzero(weights[:, peer]) if o not in (peer, *mix["unsent"])]
                seen_by = [
                    p for p, s, r in records if r is mixes.get((p, s, number)) and peer in r["members"]
                ]
                for other in set(around) - set(seen_by):
                    seen[other].append(rows[peer, start][0])
            if (peer, start, number) in ended:
                state[peer, start, number + 1] = _sum(*parts), rows[peer, start][1]
    return names, seen


def _require_equal(run: LinearRun, homes: list[Path], weights: np.ndarray, *, momentum: float) -> None:
    names, seen = _views_by_hand(homes, weights, momentum)
    owners = np.array([peer for peer, _, _ in names])
    assert np.bincount(run.owners).tolist() == np.bincount(owners).tolist()
    for observer in range(run.nodes):
        own = [{name: 1.0} for name in names if name[0] == observer]
        matrix = np.array([[row.get(name, 0.0) for name in names] for row in [*own, *seen[observer]]])
        projector = np.linalg.pinv(matrix, rcond=1e-10) @ matrix
        known = knowledge_of(run, [observer])
        assert known.rank == np.linalg.matrix_rank(matrix, tol=1e-9)
        for node in range(run.nodes):
            expected = np.sort(np.diagonal(projector)[owners == node])
            np.testing.assert_allclose(np.sort(known.shares()[run.owners == node]), expected, atol=1e-6)


@in_trio
async def test_rounds_of_peers_that_drop_out_and_come_back_are_accounted_for_as_by_hand(
    tmp_path: Path,
) -> None:
    peers = peers_in_rounds(tmp_path, 4, rounds={**QUICK, "period": 0.03}, training={"momentum": 0.5})
    homes = [peer.home.directory for peer in peers]

    def mixed_without(number: int) -> bool:
        return sum(number in mix["missing"] for mix in records_of(peers[0].home, "mix")) >= 3

    saved = homes[3] / "checkpoint.safetensors"
    async with running(*peers[:3]):
        async with running(peers[3]):
            await until(lambda: peers[3].status().event >= 3)
            await until(saved.exists)
            backup = saved.read_bytes()
            begun = peers[3].status().event
            await until(lambda: peers[3].status().event >= begun + 3)
        saved.write_bytes(backup)
        await until(lambda: mixed_without(3))
        again = Peer(homes[3], settings=peers[3].settings)
        async with running(again):
            await until(lambda: again.status().event > begun + 3)
            joined = again.status().event
            await until(lambda: again.status().event >= joined + 3)
    mixes = records_of(peers[3].home, "mix")
    lost = {mix["round"] for mix in mixes if mix["round"] >= records_of(peers[3].home, "start")[1]["event"]}
    assert lost & {mix["round"] for mix in mixes[: begun + 3]}, "its backup is older than what it had done"
    assert any(mix["listening"] for mix in mixes)
    run = run_of([str(home) for home in homes])
    weights = mixing.metropolis_hastings(graphs.ring(4)).toarray()
    _require_equal(run, homes, weights, momentum=0.5)
    shares = knowledge_of(run, [3]).losses() / np.bincount(run.owners)
    assert 0 < shares[1] < shares[0] <= 1, "it is next to 0 and 2, and was away"


@in_trio
async def test_a_masked_sum_shows_less_than_its_summands(tmp_path: Path) -> None:
    rounds = {"gathering": 20.0, "topology": "complete:4", "stop_after": 3}
    for name in ("plain", "masked"):
        (tmp_path / name).mkdir()
    plain = peers_in_rounds(tmp_path / "plain", 4, rounds=rounds)
    masked = peers_in_rounds(tmp_path / "masked", 4, rounds={**rounds, "masked_sums": True})
    shares = {}
    for name, peers in (("plain", plain), ("masked", masked)):
        await run_all(peers)
        run = run_of([str(peer.home.directory) for peer in peers])
        known = knowledge_of(run, [0])
        assert run.distances_to(0).tolist() == [0, 1, 1, 1]
        shares[name] = known.losses() / 3
        computed = known.reconstructed()[run.owners != 0]
        assert computed.all() if name == "plain" else not computed.any()
    np.testing.assert_allclose(shares["plain"], 1)
    # Three sums of three values each, one a round: a third of what the values would tell.
    np.testing.assert_allclose(shares["masked"][1:], 1 / 3)
    both = knowledge_of(run, [0, 1]).losses() / 3
    np.testing.assert_allclose(both[2:], 1 / 2)  # what one of them gave is known to both
    three = knowledge_of(run, [0, 1, 2]).losses() / 3
    assert three[3] == pytest.approx(1)  # two beside a receiver can take all masks off


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    directory = tmp_path_factory.mktemp("rounds")

    @in_trio
    async def run(peers: list[Peer]) -> None:
        await run_all(peers)

    rounds = {"stop_after": 4, "algorithm": "gradient_tracking", "gathering": 20.0}
    peers = peers_in_rounds(directory, 3, rounds={**rounds, "topology": "complete:3"})
    run(peers)
    return [peer.home.directory for peer in peers]


def test_the_same_rounds_in_a_scenario_tell_the_same(recorded: list[Path], tmp_path: Path) -> None:
    file = tmp_path / "rounds.toml"
    file.write_text(
        "[population]\nnodes = 3\n[topology]\nname = 'complete'\n[algorithm]\nname = 'gradient_tracking'\n"
        "[stop]\nrounds = 4\n",
        encoding="utf-8",
    )
    run, simulated = run_of([str(home) for home in recorded]), run_of([str(file)])
    for observer in range(3):
        one, other = knowledge_of(run, [observer]), knowledge_of(simulated, [observer])
        assert one.rank == other.rank
        np.testing.assert_allclose(one.losses(), other.losses(), atol=1e-6)


def test_every_home_is_needed(recorded: list[Path]) -> None:
    with pytest.raises(MissingPeer, match="homes of all 3"):
        run_of([str(home) for home in recorded[:2]])


def test_ages_that_the_rounds_do_not_lead_to_are_refused(recorded: list[Path]) -> None:
    def older(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [r if r["kind"] != "round" else {**r, "age": r["age"] + 1} for r in records]

    rewrite(sorted((recorded[1] / "records").glob("*.jsonl"))[-1], older)
    with pytest.raises(NotAccountable, match="age after round 0"):
        run_of([str(home) for home in recorded])


@in_trio
async def test_rounds_that_are_not_linear_are_refused_by_name(tmp_path: Path) -> None:
    rounds = {"stop_after": 1, "gathering": 20.0, "topology": "complete:3"}
    robust = {"algorithm": "clipped_gossip", "parameters": {"radius": 1.0}}
    clip = [{"kind": "clip", "norm": 1.0}]
    for name in ("clip", "rule"):
        (tmp_path / name).mkdir()
    cases = {
        "changed before they left": peers_in_rounds(tmp_path / "clip", 3, rounds=rounds, outgoing=clip),
        "not linear": peers_in_rounds(tmp_path / "rule", 3, rounds={**rounds, **robust}),
    }
    for said, peers in cases.items():
        await run_all(peers)
        with pytest.raises(NotAccountable, match=said):
            run_of([str(peer.home.directory) for peer in peers])
