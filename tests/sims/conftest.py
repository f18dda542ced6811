"""Runs on disk that several tests read."""

import pytest

from tests.sims.analysis.made import simulated


@pytest.fixture(scope="session")
def two_algorithms(tmp_path_factory):
    """Three seeds of two ways to merge."""
    directory = tmp_path_factory.mktemp("algorithms")
    for merge in ("MU", "RW"):
        for seed in (1, 2, 3):
            simulated(directory / f"{merge}-{seed}", f"algorithm.merge={merge}", seed=seed)
    return directory
