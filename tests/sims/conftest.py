"""Runs on disk that several tests read."""

import pytest

from tests.sims.analysis.made import simulated
from tests.sims.cluster import clusters


@pytest.fixture(scope="session")
def two_algorithms(tmp_path_factory):
    """Three seeds of two ways to merge."""
    directory = tmp_path_factory.mktemp("algorithms")
    for merge in ("MU", "RW"):
        for seed in (1, 2, 3):
            simulated(directory / f"{merge}-{seed}", f"algorithm.merge={merge}", seed=seed)
    return directory


@pytest.fixture(scope="session")
def ray_cluster():
    """Two machines of one CPU each, named by RAY_ADDRESS; the address of their client server.

    Tests that name it first, before other fixtures, are done by one process, which starts it once.
    """
    pytest.importorskip("ray")
    with clusters.ray_cluster() as address:
        yield address
