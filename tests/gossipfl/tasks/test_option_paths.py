"""Paths among the options of a task, and from where they lead."""

from pathlib import Path

import pytest

from gossipfl.tasks.option_paths import absolute_paths, as_annotated


def factory(
    *, file: Path, spare: Path | None = None, place: str | Path = "sotu", name: str = "", seed: int = 0
):
    return file, spare, place, name, seed


def unreadable(*, file: "Nobody", other: Path):  # noqa: F821
    return file, other


def test_paths_are_those_that_the_factory_annotates(tmp_path):
    (tmp_path / "there").mkdir()
    given = {"file": "a.csv", "spare": "../b.csv", "place": "there", "name": "there", "seed": 3}
    resolved = absolute_paths(factory, given, beside=tmp_path)
    assert resolved == {
        "file": str(tmp_path / "a.csv"),
        "spare": str(tmp_path / "../b.csv"),
        "place": str(tmp_path / "there"),
        "name": "there",
        "seed": 3,
    }
    assert absolute_paths(factory, resolved, beside=Path("/elsewhere")) == resolved
    assert as_annotated(factory, resolved) == {
        **resolved,
        "file": tmp_path / "a.csv",
        "spare": Path(resolved["spare"]),
    }


@pytest.mark.parametrize(("given", "kept"), [("sotu", "sotu"), ("", ""), ("/x", "/x"), (7, 7), (None, None)])
def test_other_words_and_values_stay(tmp_path, given, kept):
    assert absolute_paths(factory, {"place": given}, beside=tmp_path)["place"] == kept


def test_only_the_options_asked_for_are_resolved(tmp_path):
    given = {"file": "a.csv", "spare": "b.csv"}
    assert absolute_paths(factory, given, beside=tmp_path, only={"spare"}) == {
        "file": "a.csv",
        "spare": str(tmp_path / "b.csv"),
    }


def test_a_factory_whose_annotations_cannot_be_read_gets_what_was_written(tmp_path):
    given = {"file": "a.csv", "other": "b.csv"}
    assert absolute_paths(unreadable, given, beside=tmp_path) == given
    assert as_annotated(unreadable, given) == given
