"""The tables of algorithms are those that the declarations give."""

import runpy
from pathlib import Path

from gossipfl.algorithms import algorithm_names

DOCS = Path(__file__).parents[2] / "docs"


def test_the_tables_are_those_of_the_declarations():
    made = runpy.run_path(str(DOCS / "make_algorithm_tables.py"))
    page = (DOCS / "algorithms.md").read_text(encoding="utf-8")
    assert made["with_tables"](page) == page, "run `python docs/make_algorithm_tables.py`"
    assert all(f"| `{name}` |" in page for name in algorithm_names())
