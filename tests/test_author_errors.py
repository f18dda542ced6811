"""Mistakes of authors of tasks and algorithms, named by a peer that is made, one that runs, and a simulation."""

from __future__ import annotations

import re

import pytest
import trio

from gossipfl.errors import InvalidTask
from gossipfl.peer import Peer
from gossipfl.settings import PeerSettings
from tests.broken_tasks import MISTAKES
from tests.gossipfl.cli.test_main import cli

__all__ = ["cli"]

TASK = "tests.broken_tasks:broken"
LATE = {"index out of range, late"}

SCENARIO = """
[population]
nodes = 6
[task]
name = "{task}"
options = {options}
[topology]
name = "ring"
[algorithm]
name = "{algorithm}"
[training]
batch_size = 4
[stop]
rounds = 4
"""


def _scenario(mistake, algorithm="gossip_learning"):
    options = f'{{ mistake = "{mistake}" }}'
    return SCENARIO.format(task=TASK, options=options, algorithm=algorithm)


@pytest.mark.parametrize(
    ("mistake", "algorithm"),
    [*((mistake, "gossip_learning") for mistake in MISTAKES), *((mistake, "d_psgd") for mistake in LATE)],
)
def test_a_simulation_names_it(cli, tmp_path, mistake, algorithm):
    file = tmp_path / "scenario.toml"
    file.write_text(_scenario(mistake, algorithm))
    code, _, err = cli("sim", "run", file)
    assert code == 2
    assert "Traceback" not in err
    assert re.search(MISTAKES[mistake][1], err, re.DOTALL), err


@pytest.mark.parametrize("mistake", sorted(set(MISTAKES) - LATE))
def test_a_peer_that_would_be_made_names_it_and_nothing_is_made(cli, tmp_path, mistake):
    home = tmp_path / "alice"
    code, out, err = cli("peer", "init", "--home", home, "--task", TASK, "--option", f"mistake={mistake}")
    assert (code, out) == (2, "")
    assert re.search(MISTAKES[mistake][1], err, re.DOTALL), err
    assert not home.exists()


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_peer_that_runs_names_it(tmp_path, mistake):
    settings = PeerSettings.model_validate(
        {
            "task": {"name": TASK, "options": {"mistake": mistake}},
            "network": {"listen": ["/ip4/127.0.0.1/tcp/0"]},
            "exchange": {"patience": 0.01},
            "training": {"batch_size": 4},
        }
    )
    with pytest.raises((InvalidTask, BaseExceptionGroup)) as failed:
        trio.run(_run, Peer(tmp_path / "alice", settings=settings))
    error = failed.value
    while isinstance(error, BaseExceptionGroup):
        (error,) = error.exceptions
    assert isinstance(error, InvalidTask)
    assert re.search(MISTAKES[mistake][1], str(error), re.DOTALL), str(error)


async def _run(peer):
    with trio.fail_after(60):
        await peer.run()


def test_a_factory_that_raises_is_named(cli, tmp_path):
    file = tmp_path / "scenario.toml"
    text = SCENARIO.format(task="tests.broken_tasks:raising", options="{}", algorithm="gossip_learning")
    file.write_text(text)
    for command in (
        ("sim", "run", file),
        ("peer", "init", "--home", tmp_path / "alice", "--task", "tests.broken_tasks:raising"),
    ):
        code, _, err = cli(*command)
        assert code == 2
        assert "the factory 'tests.broken_tasks:raising' failed; got OSError: no such disk" in err


def test_a_peer_is_made_without_its_data_where_asked(cli, tmp_path):
    option = ("--option", "mistake=missing file")
    code, out, _ = cli(
        "peer", "init", "--home", tmp_path / "alice", "--task", TASK, *option, "--no-try", "--json"
    )
    assert code == 0
    assert "data" not in out


def test_what_was_seen_is_said_with_a_warning_where_columns_differ_a_thousandfold(cli, tmp_path):
    task = ("--task", "tests.broken_tasks:uneven")
    code, out, _ = cli("peer", "init", "--home", tmp_path / "alice", *task)
    assert code == 0
    assert "48 samples to train on, 9 to evaluate on." in out
    assert "3 classes, the rarest with 16 samples." in out
    assert "Inputs [48, 5] float32, from -" in out
    assert re.search(r"Warning: columns of the inputs differ a thousandfold.*column 2 has.*column 4", out)


ALGORITHM = """from dataclasses import dataclass, replace

from gossipfl.algorithms import Behaviour, MessageAlgorithm

@dataclass(frozen=True)
class Broken(MessageAlgorithm):
    mistake: str = ""
    behaviour = Behaviour(exchange="push-pull")

    def on_receipt(self, nodes, message, *, update):
        if self.mistake == "raises":
            return nodes.auxiliary["velocity"]
        if self.mistake == "doubles":
            return nodes.with_shared(message.shared.double(), ages=nodes.ages)
        return update(replace(nodes, rows=nodes.rows[:, 1:]))
"""
ALGORITHM_MISTAKES = {
    "raises": r"Broken: on_receipt failed; got KeyError: 'velocity', at .*broken_algorithm_of_tests\.py:12$",
    "doubles": r"Broken, on_receipt must return rows of the form they had; expected float32 \[\d+, \d+\] on cpu; "
    r"got float64",
    "trains part": r"Broken, on_receipt: update must be given rows of the form they had; expected float32",
}


@pytest.mark.parametrize(("mistake", "said"), ALGORITHM_MISTAKES.items())
def test_a_simulation_names_a_mistake_in_an_algorithm(cli, tmp_path, mistake, said):
    (tmp_path / "broken_algorithm_of_tests.py").write_text(ALGORITHM)
    file = tmp_path / "scenario.toml"
    scenario = SCENARIO.format(task="digits", options="{}", algorithm="broken_algorithm_of_tests:Broken")
    file.write_text(scenario)
    code, _, err = cli("sim", "run", file, "--set", f"algorithm.mistake={mistake}")
    assert code == 2
    assert "Traceback" not in err
    assert re.search(said, err.strip()), err
