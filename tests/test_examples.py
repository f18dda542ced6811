"""The examples, run as their readers run them, only shorter."""

import ast
import inspect
import re
import runpy
import sys
from pathlib import Path

import pytest
import torch

from examples.hostile_peer import HostilePeer
from gossipfl.peer import Home, Peer
from gossipfl.peer.gossip.learner import Learner
from gossipfl.peer.rounds.ways import WayOfExchange
from gossipfl.peer.store.checkpoint import read_row
from gossipfl.settings import load_settings
from tests.gossipfl.network.helpers import in_trio, until
from tests.integration.peers import running

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run an example with arguments, in a directory of its own; returns what it printed."""

    def run_example(name, *arguments):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return run_example


def shares(text):
    return [float(each) for each in re.findall(r"([\d.]+)%", text)]


def test_trio_peer(run, tmp_path):
    """Half of the classes each, so more than half of the samples right comes from the other one."""
    alice, bob = shares(run("trio_peer.py", "--age", 80))
    assert min(alice, bob) > 65
    ages = [
        read_row(tmp_path / "trio-peers" / name / "checkpoint.safetensors")[1] for name in ("alice", "bob")
    ]
    assert min(ages) >= 80
    assert min(shares(run("trio_peer.py", "--age", 90))) > 65  # resumed
    starts = sorted((tmp_path / "trio-peers" / "alice" / "records").iterdir())
    assert len(starts) == 2


def test_asyncio_peer(run, tmp_path):
    out = run("asyncio_peer.py", "--seconds", 1.0, "--pause", 0.1)
    assert re.search(r"listening at /ip4/127\.0\.0\.1/tcp/\d+/p2p/12D3", out)
    assert out.count("it is a") >= 2
    age = int(re.search(r"stopped at age (\d+)", out).group(1))
    assert read_row(tmp_path / "asyncio-peer" / "checkpoint.safetensors")[1] == age


def test_hostile_peers_stand_in_for_what_peers_offer():
    """Names of their own aside, which a subclass and its accomplices may use, they reach for public ones alone."""
    tree = ast.parse((EXAMPLES / "hostile_peer.py").read_text(encoding="utf-8"))
    private = [
        each for each in ast.walk(tree) if isinstance(each, ast.Attribute) and each.attr.startswith("_")
    ]
    reached = {ast.unparse(each) for each in private if not each.attr.startswith("__")}
    own = {"_become_ready", "_incarnation", *(name for name in vars(HostilePeer) if name.startswith("_"))}
    assert {name for name in reached if name.rpartition(".")[2] not in own} == set()
    for function in (WayOfExchange.exchange, Learner.worked):
        assert inspect.iscoroutinefunction(function)


def test_personal_head(run, tmp_path):
    out = run("personal_head.py", "--age", 80)
    assert "4160 of 4810 numbers are shared" in out
    alice, bob, chimera = shares(out)
    assert min(alice, bob) > 75
    assert chimera > 60  # a tenth, if the bodies had nothing in common
    rows = [
        read_row(tmp_path / "personal-peers" / name / "checkpoint.safetensors")[0]
        for name in ("alice", "bob")
    ]
    bodies, heads = (sum((rows[0][part] - rows[1][part]) ** 2) for part in (slice(4160), slice(4160, None)))
    assert heads > 10 * bodies  # far apart, though with a seventh of the numbers


@pytest.fixture
def csv_task(run, monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES.parent))
    out = run("own_task_csv.py", "--write", "a.csv", "b.csv")
    assert out.splitlines() == ["wrote a.csv", "wrote b.csv"]
    return "examples.own_task_csv:task"


def test_own_task_csv(csv_task, monkeypatch, capsys, tmp_path):
    """The commands of its docstring, but for `run`, which two peers of this program do."""
    from gossipfl.cli.main import main

    def cli(*arguments):
        monkeypatch.setattr(sys, "argv", ["gossipfl", "peer", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        assert not end.value.code, capsys.readouterr().err

    quick = ("--exchange-period", 0.05, "--exchange-merges-per-training", 1, "--evaluation-period", 0.2)

    @in_trio
    async def learn():
        cli("init", "--home", "a", "--task", csv_task, "--option", "file=a.csv", *quick)
        async with running(Peer("a")) as [first]:
            [address] = first.status().addresses
            flags = ("--task", csv_task, "--option", "file=b.csv", "--network-bootstrap", address)
            cli("init", "--home", "b", *flags, *quick)
            async with running(Peer("b")) as [second]:
                assert first.task.fingerprint == second.task.fingerprint
                await until(lambda: min(first.status().step, second.status().step) >= 40)
                await until(lambda: min(each.status().metrics["accuracy"] for each in (first, second)) > 0.8)
                everything = torch.cat([each.task.data().test_inputs for each in (first, second)])
                targets = torch.cat([each.task.data().test_targets for each in (first, second)])

                def share_right(peer):
                    return (peer.model()(everything).argmax(dim=1) == targets).float().mean()

                await until(lambda: min(map(share_right, (first, second))) > 0.75)

    learn()
    capsys.readouterr()
    assert load_settings(Home(tmp_path / "a").settings).task.options == {"file": str(tmp_path / "a.csv")}


def test_the_statistics_of_the_raw_data_stay_at_home(csv_task, tmp_path):
    from gossipfl.tasks import find_task

    task = find_task(csv_task, {"file": str(tmp_path / "a.csv")})
    shared = {entry.name for entry in task.layout.entries if entry.group == "shared"}
    assert shared == {"1.weight", "1.bias", "3.weight", "3.bias"}


def test_every_example_is_run_by_a_test():
    names = {path.stem for path in EXAMPLES.glob("*.py")} - {"__init__"}
    tests = "\n".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.rglob("test_*.py"))
    assert [name for name in names if not re.search(rf"\b{name}\b", tests)] == []


def test_poisoned_views(run):
    out = run("poisoned_views.py", "--nodes", 40, "--hostile", 0.2, "--rounds", 8)
    held, without, gated = shares(out)[:3]
    assert (
        0 < held < 40
    )  # without a defence, ten pushes for one of an honest member leave room for little else
    assert without < 20 < gated
    assert "'opposed'" in out
