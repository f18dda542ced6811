"""The keyboard's table: search of step sizes, stages side by side, and a folder of texts from end to end."""

import json
import os
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def table(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS))
    import make_keyboard_table

    return make_keyboard_table


def test_step_sizes_are_tried_until_the_best_is_not_at_the_edge(table, tmp_path):
    """Held-out losses are least at 0.06."""
    import keyboard_stages

    chosen = table.parsed(
        ["--kept", str(tmp_path), "--methods", "pooled", "--trials", "6", "--ratio", "2", "--only-tried"]
    )
    asked = []

    def tries():
        return [stage[1]["rate"] for stage in keyboard_stages.missing(chosen, 3) if stage[0] == "tried"]

    while wanted := tries():
        asked.append(wanted)
        for rate in wanted:
            assert rate in tries()
            file = keyboard_stages.file_of(chosen, ("tried", {"method": "pooled", "rate": rate}))
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps({"held out": [0, abs(rate - 0.06), 1]}))
    assert asked == [[0.005, 0.01, 0.02], [0.04], [0.08], [0.0565685]]
    assert keyboard_stages.best_rate(chosen, "pooled") == 0.0565685
    assert not keyboard_stages.is_at_edge(chosen, "pooled")


def test_stages_are_done_once_as_soon_as_they_are_ready(table):
    import side_by_side

    done = set()

    def ready():
        yield from ((name, {}) for name in "abc" if name not in done)
        if {"a", "b", "c"} <= done and "d" not in done:
            yield "d", {}

    def do(stage):
        yield
        yield
        return stage[0].upper()

    said = []
    for stage, what in side_by_side.done_side_by_side(ready, do, side_by_side.Places(2, 2)):
        done.add(stage[0])
        said.append(what)
    assert sorted(said[:3]) == ["A", "B", "C"]
    assert said[3:] == ["D"]


def test_a_process_that_dies_ends_the_command(table):
    import side_by_side

    def dies(stage):
        yield
        os._exit(3)

    with pytest.raises(SystemExit, match="exit code 3"):
        list(side_by_side.done_side_by_side(lambda: [("a", {})], dies, side_by_side.Places()))


@pytest.mark.slow
def test_a_folder_of_texts_has_a_table(table, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "texts"
    folder.mkdir()
    for place, name in enumerate(("ada", "bob", "eve", "joe")):
        said = (f"The cat of {name} saw the dog {n % (5 + place)} times and went home." for n in range(160))
        (folder / f"{name}.txt").write_text(" ".join(said))
    (folder / "short.txt").write_text("Too short.")
    sizes = "--size tiny --words 200 --steps 6 --batch 2 --trials 3 --seeds 1 --most-tested 5"
    kept = f"--text {folder} --kept {tmp_path / 'kept'} --show --methods gossip pooled alone FedAvg".split()
    monkeypatch.setattr(sys, "argv", ["make_keyboard_table.py", *sizes.split(), *kept])
    table.main()
    said = capsys.readouterr().out
    assert "short has too little text" in said
    assert "failed" not in said
    labels = [line.split("|")[1].strip() for line in said.splitlines() if line.startswith("|")]
    assert labels[2:] == [
        *("unigram, pooled", "bigram, pooled", "trigram, pooled", "trigram, alone"),
        *("gossip", "gossip + personal", "pooled", "pooled + personal", "alone", "FedAvg"),
    ]
