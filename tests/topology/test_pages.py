"""The pages in docs/ that speak of topologies are true: generated ones fresh, code in them run."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(DOCS), *sys.path])


def test_the_gallery_is_what_the_catalogue_says():
    import make_gallery

    assert make_gallery.PAGE.read_text(encoding="utf-8") == make_gallery.page()


def test_every_picture_of_the_pages_is_there_and_small():
    pages = [DOCS / "topology-gallery.md", DOCS / "tutorials" / "hospitals.md"]
    shown = set()
    for page in pages:
        for link in re.findall(r'(?:src="|\]\()([^")]+\.(?:svg|png|gif))', page.read_text(encoding="utf-8")):
            shown.add((page.parent / link).resolve())
    assert len(shown) > 25
    assert all(picture.stat().st_size > 500 for picture in shown)
    folder = DOCS / "images" / "topology"
    assert shown == {picture.resolve() for picture in folder.iterdir()}
    assert sum(picture.stat().st_size for picture in shown) < 3_000_000


def test_the_hospital_tutorial_prints_what_it_says(tmp_path):
    import run_tutorial

    page = DOCS / "tutorials" / "hospitals.md"
    assert run_tutorial.run(page, tmp_path) == []
    assert {path.name for path in tmp_path.iterdir()} == {"hospitals-curves.svg", "round.graphml"}


def test_the_page_on_overlays_prints_what_it_says(tmp_path):
    import run_tutorial

    assert run_tutorial.run(DOCS / "overlays.md", tmp_path) == []


def test_the_topology_of_the_page_on_extending_is_the_example(tmp_path, monkeypatch):
    import run_tutorial

    page, example = DOCS / "extend.md", DOCS.parent / "examples" / "islands.py"
    _, code = example.read_text(encoding="utf-8").split('"""\n\n', 1)
    assert code in page.read_text(encoding="utf-8")
    (tmp_path / "islands.py").write_text(code)
    monkeypatch.delitem(sys.modules, "islands", raising=False)
    assert run_tutorial.run(page, tmp_path) == []
    del sys.modules["islands"]


def test_a_tutorial_that_lies_is_caught(tmp_path):
    import run_tutorial

    page = tmp_path / "lie.md"
    page.write_text("```python\nprint(2 + 2)\n```\n\n```text\n5\n```\n")
    (difference,) = run_tutorial.run(page, tmp_path)
    assert (difference.expected, difference.came) == ("5", "4")
