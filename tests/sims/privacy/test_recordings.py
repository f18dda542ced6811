"""Recorded peers: their records read by the accountant, and by a short program of its own."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sims.privacy.errors import NotAccountable
from sims.privacy.knowledge import knowledge_of
from sims.privacy.linear_run import LinearRun
from sims.privacy.recorded_values import leaving_of_homes
from sims.privacy.sources import run_of
from tests.sims.replay.recorded import recorded_run, rewrite


def _records(home: Path) -> list[tuple[int, dict[str, Any]]]:
    """All records of a peer, each with the number of its start."""
    found = []
    for file in sorted((home / "records").glob("*.jsonl")):
        lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        found += [(lines[0]["incarnation"], line) for line in lines]
    return found


def _shares_by_hand(homes: list[Path], momentum: float) -> dict[int, list[np.ndarray]]:
    """Rows that each peer saw, as combinations of gradients: x ← (a x + b y) / (a + b), then a gradient."""
    todo = {place: _records(home) for place, home in enumerate(homes)}
    ids = [records[0][1]["peer"] for records in todo.values()]
    versions: dict[tuple[str, int, int], tuple[dict[Any, float], int]] = {}
    present: dict[tuple[int, int], tuple[dict[Any, float], int]] = {}
    saved_velocities: dict[Any, dict[Any, float]] = {}
    velocity: dict[tuple[int, int], dict[Any, float]] = {}
    seen: dict[int, list[dict[Any, float]]] = defaultdict(list)
    while any(todo.values()):
        for place, records in todo.items():
            while records:
                start, record = records[0]
                kind = record["kind"]
                if kind == "merge" or kind == "refusal":
                    key = (record["sender"], record["sender_incarnation"], record["sender_event"])
                    if key not in versions:
                        break
                    seen[place].append(versions[key][0])
                if kind == "start":
                    resumed = record["resumed_from"]
                    saved = ({}, 0) if resumed is None else versions[ids[place], resumed, record["event"]]
                    present[place, start] = versions[ids[place], start, record["event"]] = saved
                    velocity[place, start] = saved_velocities.get((ids[place], resumed, record["event"]), {})
                elif kind in ("merge", "train"):
                    row, age = present[place, start]
                    if kind == "merge":
                        other, other_age = versions[key]
                        weight = other_age / (age + other_age) if age + other_age else 0.5
                        names = row.keys() | other.keys()
                        row = {n: (1 - weight) * row.get(n, 0.0) + weight * other.get(n, 0.0) for n in names}
                        age = max(age, other_age)
                    if record["trained"]:
                        moved = {n: momentum * w for n, w in velocity[place, start].items()}
                        velocity[place, start] = moved = {**moved, (place, start, record["event"]): 1.0}
                        row = {n: row.get(n, 0.0) + moved.get(n, 0.0) for n in row.keys() | moved.keys()}
                        age += 1
                    assert age == record["age"]
                    present[place, start] = versions[ids[place], start, record["event"]] = (row, age)
                    saved_velocities[ids[place], start, record["event"]] = velocity[place, start]
                records.pop(0)
    names = sorted({name for row, _ in versions.values() for name in row})
    matrices = {}
    for place in range(len(homes)):
        own = [{name: 1.0} for name in names if name[0] == place]
        matrices[place] = [np.array([row.get(name, 0.0) for name in names]) for row in [*own, *seen[place]]]
    matrices[-1] = [np.array([name[0] for name in names])]
    return matrices


def _require_equal(run: LinearRun, homes: list[Path], *, momentum: float = 0.0) -> None:
    by_hand = _shares_by_hand(homes, momentum)
    owners = by_hand.pop(-1)[0]
    assert np.bincount(run.owners).tolist() == np.bincount(owners).tolist()
    for observer, rows in by_hand.items():
        matrix = np.array(rows)
        projector = np.linalg.pinv(matrix, rcond=1e-10) @ matrix
        known = knowledge_of(run, [observer])
        assert known.rank == np.linalg.matrix_rank(matrix, tol=1e-9)
        for node in range(run.nodes):
            expected = np.sort(np.diagonal(projector)[owners == node])
            np.testing.assert_allclose(np.sort(known.shares()[run.owners == node]), expected, atol=1e-6)


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return recorded_run(tmp_path_factory.mktemp("peers"), peers=4, rounds=3)


def test_a_recorded_run_is_accounted_for_as_by_hand(homes: list[Path]) -> None:
    _require_equal(run_of([str(home) for home in homes]), homes)


def test_a_directory_of_homes_is_its_homes(homes: list[Path]) -> None:
    run = run_of([str(homes[0].parent)])
    assert run.nodes == 4
    with pytest.raises(NotAccountable, match="as it was"):
        run_of([str(homes[0].parent)], overrides=["stop.rounds=2"])


def test_a_refused_model_was_seen(tmp_path: Path) -> None:
    homes = recorded_run(tmp_path, peers=3, rounds=2)
    before = run_of([str(home) for home in homes])
    sender = _records(homes[0])[0][1]["peer"]
    last = max(record["event"] for _, record in _records(homes[0]) if record["kind"] in ("merge", "train"))

    def refuse(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        start = records[0]["incarnation"]
        told = {"sender": sender, "sender_incarnation": start, "sender_event": last, "reason": "late"}
        return [*records, {**records[-1], "kind": "refusal", **told}]

    rewrite(sorted((homes[2] / "records").glob("*.jsonl"))[-1], refuse)
    after = run_of([str(home) for home in homes])
    _require_equal(after, homes)
    assert knowledge_of(after, [2]).shares().sum() > knowledge_of(before, [2]).shares().sum() + 0.01


def test_what_is_not_linear_is_refused_by_name(tmp_path: Path) -> None:
    homes = recorded_run(tmp_path, peers=2, rounds=1, exchange={"codec": "qsgd:16:128"})
    with pytest.raises(NotAccountable, match="not linearly"):
        run_of([str(home) for home in homes])


@pytest.mark.parametrize("codec", ["int8", "int8:64"])
def test_rows_that_were_rounded_count_in_full(tmp_path: Path, codec: str) -> None:
    homes = recorded_run(tmp_path, peers=2, rounds=1, exchange={"codec": codec})
    _require_equal(run_of([str(home) for home in homes]), homes)
    assert leaving_of_homes(homes).changes == ()


def test_momentum_is_accounted_for_as_by_hand(tmp_path: Path) -> None:
    homes = recorded_run(tmp_path, peers=3, rounds=3, seed=5, training={"momentum": 0.5})
    _require_equal(run_of([str(home) for home in homes]), homes, momentum=0.5)
