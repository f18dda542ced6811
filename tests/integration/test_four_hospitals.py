"""The tutorial of four hospitals, from its own commands: one digest, one model, and each better than alone."""

import json
import os
import re
import socket
import subprocess
import sys

import pytest

from gossipfl.errors import InvalidTask
from tests.integration.peers import REPOSITORY

PAGE = REPOSITORY / "docs" / "tutorials" / "four-hospitals.md"
EXAMPLE = REPOSITORY / "examples" / "four_hospitals.py"
HOMES = ["cleveland", "hungary", "switzerland", "va"]
PRELUDE = "trap 'kill $(jobs -p) 2> /dev/null; wait' EXIT"
#: What a reader waits a minute for: every peer has merged others' models.
WAIT = """
for records in {cleveland,hungary,switzerland,va}/records; do
  for try in $(seq 600); do grep -qs '"kind":"merge"' $records/*.jsonl && break; sleep 0.2; done
done
"""


def commands():
    """Each command of the page, with what it prints according to the page."""
    blocks = re.findall(r"^```console\n(.*?)^```$", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
    for block in blocks:
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, printed = re.sub(r"\\\n", "", part).partition("\n")
            yield command, printed


@pytest.fixture(scope="module")
def tables():
    sys.path.insert(0, str(EXAMPLE.parent))
    try:
        import four_hospitals

        four_hospitals.patients()
    except InvalidTask as error:
        pytest.skip(f"no package index: {error}")
    finally:
        sys.path.remove(str(EXAMPLE.parent))


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def pattern(text):
    return re.escape(text.strip()).replace("…", ".*")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_from_the_tables_to_a_shared_model(tables, tmp_path):
    (tmp_path / "examples").symlink_to(EXAMPLE.parent)
    folder, programs = tmp_path / "hospitals", tmp_path / "bin"
    folder.mkdir()
    programs.mkdir()
    for name, arguments in (("python", ""), ("gossipfl", "-m gossipfl")):
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
        (programs / name).chmod(0o755)
    steps = [each for each in commands() if "compare" not in each[0]]
    script = [PRELUDE]
    for number, (command, _) in enumerate(steps):
        if command.startswith("gossipfl peer status"):
            script.append(WAIT)
        script += [f"echo '=== {number}'", command]
    text = "\n".join(script).replace("4301", str(free_port()))
    environment = {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(REPOSITORY),
    }
    ran = subprocess.run(
        ["bash", "-c", text],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    printed = dict(re.findall(r"^=== (\d+)\n(.*?)(?=^=== |\Z)", ran.stdout, flags=re.MULTILINE | re.DOTALL))
    for number, (command, expected) in enumerate(steps):
        said = printed[str(number)] + (ran.stderr if "exit code" in expected else "")
        lines = expected.replace("gossipfl: ", "", 1).splitlines() if "exit code" in expected else [expected]
        for line in lines if expected.strip() else []:
            assert re.search(pattern(line), said, re.DOTALL), (command, expected, said, ran.stderr)
    digests = {json.loads((folder / name / "stats.json").read_text())["digest"] for name in HOMES[:3]}
    assert len(digests) == 1
    for name in HOMES:
        records = "".join(file.read_text() for file in (folder / name / "records").glob("*.jsonl"))
        assert '"kind":"merge"' in records, (folder / f"{name}.run").read_text()


def test_the_schema_on_the_page_is_the_examples():
    (shown,) = re.findall(r"^```toml\n(.*?)^```$", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert shown in (EXAMPLE.parent / "heart.toml").read_text()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_each_hospital_is_better_than_alone(tables, tmp_path):
    """By the log loss of its own patients, each tested by models that were not trained on it."""
    run = [sys.executable, str(EXAMPLE)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    subprocess.run([*run, "write", str(tmp_path)], env=environment, check=True)
    (command,) = [each for each, _ in commands() if "compare" in each]
    options = command.partition("compare .")[2].split()
    done = subprocess.run(
        [*run, "compare", str(tmp_path), *options, "--json"],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert set(found) == {*HOMES, "all four"}
    assert all(each["difference"] < 0 for each in found.values()), found
    assert found["all four"]["difference"] < -found["all four"]["interval"]
