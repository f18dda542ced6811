"""The page on extensions: its code is that of the examples, which the tests run."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    "name", ["noloco.py", "noloco.toml", "balance.py", "momentum_gossip.py", "islands.py"]
)
def test_the_page_shows_the_example_as_it_is(name):
    example = (ROOT / "examples" / name).read_text(encoding="utf-8")
    code = example.split('"""', 2)[2] if name.endswith(".py") else example
    assert code.strip() in (ROOT / "docs" / "extend.md").read_text(encoding="utf-8")
