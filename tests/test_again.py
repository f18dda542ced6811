"""The second try of tests that failed beside others."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "tools" / "again.py"
BESIDE_OTHERS = "os.environ.get('PYTEST_XDIST_WORKER')"


def tried(directory, folder, *, fails):
    """Return the exit statuses of a run in two processes and of the second try, and what the latter said."""
    place = directory / folder
    place.mkdir(parents=True)
    (place / "test_one.py").write_text(
        "import os, pytest\n\n\n"
        "@pytest.mark.xdist_group('a/fixture.py:home')\n@pytest.mark.parametrize('value', ['a@b'])\n"
        f"def test_one(value):\n    assert not {fails}\n\n\ndef test_other():\n    pass\n"
    )
    first = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadgroup", "tests"],
        cwd=directory,
        capture_output=True,
        check=False,
    )
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    second = subprocess.run(
        [sys.executable, SCRIPT], cwd=directory, env=alone, capture_output=True, text=True, check=False
    )
    return first.returncode, second.returncode, second.stdout


@pytest.mark.parametrize(
    ("folder", "fails", "status"),
    [
        ("tests/integration", BESIDE_OTHERS, 0),
        ("tests/integration", "True", 1),
        ("tests/sims", BESIDE_OTHERS, 1),
    ],
)
def test_only_what_waits_for_others_is_tried_again(tmp_path, folder, fails, status):
    first, second, said = tried(tmp_path, folder, fails=fails)
    assert (first, second) == (1, status)
    assert ("test_one.py::test_one[a@b]" in said) == (folder == "tests/integration")
    assert ("passed only when alone" in said) == (status == 0)
