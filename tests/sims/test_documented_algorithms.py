"""The page of algorithms names each that a scenario can name, and no other."""

import re
from pathlib import Path

from gossipfl.algorithms import algorithm_names

PAGE = Path(__file__).parents[2] / "docs" / "algorithms.md"


def test_every_algorithm_of_a_scenario_is_in_a_table_and_every_one_in_a_table_is_there():
    documented = re.findall(
        r"^\| `(\w+)` \|.*\|.*\|.*\|.*(?:simulator|peers) \|$", PAGE.read_text(), re.MULTILINE
    )
    assert sorted(documented) == sorted({*algorithm_names(), "gossip_learning", "ad_psgd", "push_sum"})
