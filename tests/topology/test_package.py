import importlib
import subprocess
import sys

import pytest

from topology.spelling import did_you_mean


def test_importing_topology_is_cheap():
    code = "import sys, topology; print([m for m in ('numpy', 'scipy', 'networkx') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_parts_are_there_on_first_use():
    code = "import topology; print(topology.graphs.ring(4).n, topology.Topology.__name__)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["4", "Topology"]


def test_suggestions_are_names_that_are_spelt_alike():
    known = ["codec", "degree", "variant", "weights"]
    assert did_you_mean("mode", known) is None
    typos = {
        "degre": "degree",
        "dergee": "degree",
        "varaint": "variant",
        "weigths": "weights",
        "code": "codec",
    }
    for typo, name in typos.items():
        assert did_you_mean(typo, known) == f"Did you mean {name!r}?"


@pytest.mark.parametrize(
    "package",
    ["gossipfl", "gossipfl.network", "gossipfl.peer", "gossipfl.tasks", "gossipfl.wire", "sims", "topology"],
)
def test_names_that_are_imported_when_used_are_listed(package):
    module = importlib.import_module(package)
    assert {name for name in module.__all__ if not name.startswith("_")} <= set(dir(module))
