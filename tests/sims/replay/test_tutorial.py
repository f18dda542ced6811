"""The tutorial says what its commands and its code do."""

import contextlib
import io
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sims.cli import app

PAGE = Path(__file__).parents[3] / "docs/tutorials/replay-your-demo.md"


def blocks():
    return re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)


def run_tutorial(*, with_demo):
    """Run all blocks here; what Python prints must be what the page says, what commands print varies."""
    namespace, printed, ran = {"__name__": "tutorial"}, None, []
    for kind, body in blocks():
        if kind == "python":
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(compile(body, PAGE.name, "exec"), namespace)
            printed = out.getvalue()
        elif kind == "text" and printed is not None:
            assert printed == body
            printed = None
        elif kind == "console":
            words = shlex.split(body.removeprefix("$ "))
            assert words[0] == "gossipfl"
            ran.append(words[1:3])
            if words[1] == "sim":
                result = CliRunner().invoke(app, words[2:], env={"COLUMNS": "120"})
                assert result.exit_code in ((0, 1) if "--batched" in words else (0,)), result.output
            elif with_demo:
                # Within 15 seconds a busy machine's peers may not have converged yet: that is code 1.
                done = subprocess.run(
                    [sys.executable, "-m", *words, "--json"], check=False, capture_output=True
                )
                assert done.returncode in (0, 1), done.stderr
    return ran


def test_on_a_network_that_is_there(network_homes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("demo-run").mkdir()
    for number, home in enumerate(network_homes):
        Path(f"demo-run/peer-{number}").symlink_to(home)
    ran = run_tutorial(with_demo=False)
    assert ran == [["demo", "--peers"], ["sim", "replay"], ["sim", "replay"], ["sim", "calibrate"]]


@pytest.mark.slow
def test_from_the_demo_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_tutorial(with_demo=True)
