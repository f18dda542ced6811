"""The tables of algorithms are those that the declarations give."""

import runpy
from pathlib import Path

from gossipfl.algorithms import algorithm_names
from gossipfl.attacks import attack_names

DOCS = Path(__file__).parents[2] / "docs"


def test_the_tables_are_those_of_the_declarations():
    made = runpy.run_path(str(DOCS / "make_algorithm_tables.py"))["pages"]()
    for name, page in made.items():
        written = (DOCS / name).read_text(encoding="utf-8")
        assert page == written, "run `python docs/make_algorithm_tables.py`"
    assert all(f"| `{name}` |" in made["algorithms.md"] for name in algorithm_names())
    assert all(f"| `{name}` |" in made["robustness.md"] for name in attack_names())
