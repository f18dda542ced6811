import subprocess
import sys


def test_importing_topology_is_cheap():
    code = "import sys, topology; print([m for m in ('numpy', 'scipy', 'networkx') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_parts_are_there_on_first_use():
    code = "import topology; print(topology.graphs.ring(4).n, topology.Topology.__name__)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["4", "Topology"]
