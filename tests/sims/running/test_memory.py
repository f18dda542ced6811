"""Memory estimates beside what runs take, each in a process of its own."""

import pytest

from benchmarks.memory_estimates import measured

MEASURED = ("perceptron, 10,000 nodes, messages", "perceptron, 10,000 nodes, 8 bits")


@pytest.mark.slow
@pytest.mark.parametrize("name", MEASURED)
def test_an_estimate_is_within_a_tenth(name):
    estimated, taken = measured(name)
    assert estimated == pytest.approx(taken, rel=0.1)
