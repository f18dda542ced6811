"""``gossipfl peer``: made, inspected, and every mistake named with exit code 2."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

import pytest

from gossipfl.network import load_identity
from gossipfl.peer import Home
from gossipfl.peer.gossip.defaults import known_parameters
from gossipfl.peer.gossip.plan import gossip_parameters
from gossipfl.peer.saved_model import task_of_home
from gossipfl.peer.status import PeerStatus, read_status
from gossipfl.settings import dump_settings, load_settings, parse_settings, with_modules
from tests.integration.peers import REPOSITORY, TASK, PeerProcess, quick_settings

from .test_main import LOADED, cli

__all__ = ["cli"]


def test_init_makes_a_private_home_and_says_who_it_is(cli, tmp_path):
    code, out, err = cli("peer", "init", "--home", tmp_path / "alice", "--try", "--json")
    assert (code, err) == (0, "")
    said = json.loads(out)
    data = said.pop("data")
    assert (data["train_samples"], data["test_samples"], len(data["classes"])) == (1437, 360, 10)
    assert (data["low"], data["high"], data["warnings"]) == (0, 1, [])
    assert said == {
        "home": str(tmp_path / "alice"),
        "peer_id": load_identity(tmp_path / "alice").peer_id,
        "task": "digits/0",
    }
    for path in (tmp_path / "alice").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_peer_of_the_digits_is_made_without_torch_and_untried(tmp_path):
    """In a process of its own, as an operator makes one of many."""
    code = LOADED.format(
        arguments=[
            "peer",
            "init",
            "--home",
            str(tmp_path / "alice"),
            "--option",
            "index=1",
            "--option",
            "peers=2",
        ]
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = json.loads(done.stdout.splitlines()[-1])
    assert "cryptography" in loaded  # the probe sees what is loaded
    assert not set(loaded) & {"torch", "trio", "sklearn", "libp2p"}
    assert "for task digits/0." in done.stdout
    settings = load_settings(tmp_path / "alice" / "peer.toml")
    text = dump_settings(settings, gossip=gossip_parameters(settings))
    assert (tmp_path / "alice" / "peer.toml").read_text() == text


@pytest.mark.parametrize(
    ("tables", "is_known"),
    [
        ({}, True),
        ({"exchange": {"mode": "push", "codec": "int8"}}, True),
        ({"exchange": {"merges_per_training": 3}}, True),
        ({"gossip": {"algorithm": "gossip_learning"}}, True),
        ({"gossip": {"merge": "UM"}}, False),
        ({"gossip": {"algorithm": "ad_psgd"}}, False),
        ({"rounds": {"algorithm": "d_psgd"}}, False),
    ],
)
def test_parameters_that_are_known_without_the_algorithm_are_its_own(tables, is_known):
    settings = parse_settings(tables, source="a test")
    known = known_parameters(settings)
    assert (known is not None) == is_known
    if is_known:
        assert list(known.items()) == list(gossip_parameters(settings).items())


def test_options_that_digits_do_not_take_are_named(cli, tmp_path):
    for option, said in (("index=3", "outside the partition"), ("indx=1", "does not take these options")):
        code, _, err = cli("peer", "init", "--home", tmp_path / "alice", "--option", option)
        assert code == 2
        assert said in err
    assert not (tmp_path / "alice").exists()


def test_init_for_people_says_what_to_do_next(cli, tmp_path):
    code, out, _ = cli("peer", "init", "--home", tmp_path / "alice", "--task", TASK, "--option", "index=1")
    assert code == 0
    assert f"gossipfl peer run --home {tmp_path / 'alice'}" in out
    assert "samples to train on" in out
    assert "classes, the rarest with" in out
    assert load_settings(tmp_path / "alice" / "peer.toml").task.options == {"index": 1}


@pytest.mark.parametrize(
    ("task", "options", "parts"),
    [
        ("digit", [], ["no bundled task 'digit'", "Did you mean 'digits'?"]),
        ("no.such.module:task", [], ["no module 'no.such.module'"]),
        (
            "tests.integration.tasks:blob",
            [],
            ["no function 'blob'", "Did you mean tests.integration.tasks:blobs?"],
        ),
        (TASK, ["indx=1"], ["does not take these options", "indx"]),
    ],
)
def test_a_wrong_task_is_named_and_nothing_is_made(cli, tmp_path, task, options, parts):
    flags = [each for option in options for each in ("--option", option)]
    code, _, err = cli("peer", "init", "--home", tmp_path / "alice", "--task", task, *flags)
    assert code == 2, err
    assert all(part in err for part in parts), err
    assert not (tmp_path / "alice" / "peer.toml").exists()


def test_init_never_overwrites(cli, tmp_path):
    cli("peer", "init", "--home", tmp_path / "alice")
    peer_id = load_identity(tmp_path / "alice").peer_id
    code, _, err = cli("peer", "init", "--home", tmp_path / "alice")
    assert code == 2
    assert "already holds a peer" in err
    assert load_identity(tmp_path / "alice").peer_id == peer_id


@pytest.mark.parametrize("command", ["run", "status"])
def test_a_home_without_a_peer_says_how_to_make_one(cli, tmp_path, command):
    code, out, err = cli("peer", command, "--home", tmp_path / "nobody")
    assert (code, out) == (2, "")
    assert "gossipfl peer init" in err
    assert not (tmp_path / "nobody").exists()


def spoil_toml(home):
    home.settings.write_text("[training]\nlearing_rate = 0.1\n")


def spoil_key(home):
    (home.directory / "identity.key").write_bytes(b"short")


def spoil_checkpoint(home):
    home.checkpoint.write_bytes(b"not a checkpoint")


def spoil_counter(home):
    (home.directory / "incarnation").write_text("seven")


def hide_counter(home):
    (home.directory / "incarnation").mkdir()


def hide_records(home):
    home.records.rmdir()
    home.records.touch()


def hide_checkpoint(home):
    home.checkpoint.mkdir()


def hide_lock(home):
    (home.directory / "lock").mkdir()


def take_port(home):
    home.settings.write_text(
        '[network]\nlisten = ["/ip4/203.0.113.7/tcp/4001"]\n[membership]\ndoor = "open"\n'
    )


def leave_open(home):
    home.settings.write_text('[network]\nlisten = ["/ip4/0.0.0.0/tcp/4001"]\n')


def spoil_data(home):
    home.settings.write_text('[task]\nname = "tests.gossipfl.cli.broken:no_file"\n')


def spoil_partition(home):
    home.settings.write_text('[task.options]\npartition = "shards:5000"\npeers = 8\n')


@pytest.mark.parametrize(
    ("spoil", "parts"),
    [
        (spoil_toml, ["training.learing_rate: unknown key", "Did you mean 'learning_rate'?"]),
        (spoil_key, ["identity"]),
        (spoil_checkpoint, ["checkpoint", "damaged"]),
        (spoil_counter, ["incarnation is damaged"]),
        (hide_counter, ["cannot read the home", "Is a directory", "permissions"]),
        (hide_records, ["cannot write records into", "File exists"]),
        (hide_checkpoint, ["checkpoint", "cannot be read", "Is a directory"]),
        (hide_lock, ["cannot use the home", "Is a directory"]),
        (take_port, ["203.0.113.7", "cannot listen at"]),
        (leave_open, ["peer.toml:2:1: network.listen", "reached from other machines", 'door = "open"']),
        (spoil_data, ["data", "nowhere.csv"]),
        (spoil_partition, ["more shards than samples"]),
    ],
)
def test_a_peer_that_cannot_run_says_why(cli, tmp_path, spoil, parts):
    home = Home(tmp_path / "alice")
    cli("peer", "init", "--home", home.directory)
    spoil(home)
    code, out, err = cli("peer", "run", "--home", home.directory, "--plain")
    assert (code, out) == (2, ""), err
    assert all(part in err for part in parts), err
    assert "Traceback" not in err
    assert "ExceptionGroup" not in err
    assert not home.is_running()


def test_status_of_a_peer_that_never_ran(cli, tmp_path):
    cli("peer", "init", "--home", tmp_path / "alice")
    code, _, err = cli("peer", "status", "--home", tmp_path / "alice")
    assert code == 2
    assert "gossipfl peer run" in err


@pytest.mark.parametrize("content", [None, b"5", b"{", b"\xff"])
def test_a_status_that_cannot_be_read_is_named(cli, tmp_path, content):
    home = Home(tmp_path / "alice")
    cli("peer", "init", "--home", home.directory)
    home.status.mkdir() if content is None else home.status.write_bytes(content)
    code, out, err = cli("peer", "status", "--home", home.directory)
    assert (code, out) == (2, "")
    assert "status.json" in err
    assert "Traceback" not in err


def test_status_while_it_runs_and_afterwards_and_one_process_a_home(cli, tmp_path):
    with PeerProcess(tmp_path / "alice", quick_settings(), forked=True) as peer:
        peer.start("--plain").until_at(step=2)
        code, out, err = cli("peer", "status", "--home", peer.home.directory, "--json")
        assert (code, err) == (0, "")
        running = json.loads(out)
        assert set(running) == {*PeerStatus.__dataclass_fields__, "running", "state", "reason"}
        assert (running["running"], running["state"], running["reason"]) == (True, "running", None)
        assert running["process"] == peer.process.pid
        assert not peer.home.is_starting()  # so that it is "stopped" as soon as it has stopped
        code, out, err = cli("peer", "run", "--home", peer.home.directory)
        assert (code, out) == (2, "")
        assert f"in use by process {peer.process.pid}" in err
        code, out, _ = cli("peer", "status", "--home", peer.home.directory)
        assert out.splitlines()[:2] == [
            f"peer {running['peer_id']}",
            f"listening at {running['addresses'][0]}",  # whole, however narrow the terminal
        ]
        peer.process.terminate()
        assert peer.process.wait(timeout=60) == 0
        code, out, _ = cli("peer", "status", "--home", peer.home.directory, "--json")
        after = json.loads(out)
        assert (code, after["running"], after["state"]) == (3, False, "stopped")
        assert after["saved_age"] == after["age"] >= running["age"]


@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_data_are_read_ends_it_at_once(tmp_path, asked):
    settings = quick_settings(task={"name": "tests.gossipfl.cli.broken:endless", "options": {}})
    with PeerProcess(tmp_path / "alice", settings, forked=True) as peer:
        peer.start("--plain")
        deadline = time.monotonic() + 60
        out = peer.home.directory / "out"
        while not out.exists() or "reading" not in out.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        peer.process.send_signal(asked)
        assert peer.process.wait(timeout=20) == 0
        assert peer.err == ""
        assert not peer.home.is_running()


def test_in_a_terminal_there_is_a_live_view_and_ctrl_c_ends_it(tmp_path):
    """A real pseudo-terminal, and the control character that Ctrl-C types."""
    home = Home(tmp_path / "alice")
    home.create(quick_settings())
    process, terminal = pty.fork()
    if not process:
        os.chdir(REPOSITORY)
        os.environ["TERM"] = "xterm"
        os.execv(
            sys.executable, [sys.executable, "-m", "gossipfl", "peer", "run", "--home", str(home.directory)]
        )
    shown = b""
    try:
        deadline = time.monotonic() + 60
        while b"accuracy" not in shown and time.monotonic() < deadline:
            shown += os.read(terminal, 65536)
        assert "│".encode() in shown
        os.write(terminal, b"\x03")
        while True:
            try:
                piece = os.read(terminal, 65536)
            except OSError:  # the terminal's other side is gone
                break
            if not piece:
                break
            shown += piece
        _, status = os.waitpid(process, 0)
        process = 0
        assert os.waitstatus_to_exitcode(status) == 0
        assert b"Traceback" not in shown
        assert home.checkpoint.exists()
    finally:
        if process:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
        os.close(terminal)


def test_in_the_background_of_a_terminal_nothing_is_drawn(tmp_path):
    """As with ``gossipfl peer run &`` at a prompt: lines, which leave what is typed there alone."""
    home = Home(tmp_path / "alice")
    home.create(quick_settings())
    shell, terminal = pty.fork()
    if not shell:
        job = os.fork()
        if not job:
            os.setpgid(0, 0)  # what a shell does for a job
            os.chdir(REPOSITORY)
            os.environ["TERM"] = "xterm"
            command = ["gossipfl", "peer", "run", "--home", str(home.directory)]
            os.execv(sys.executable, [sys.executable, "-m", *command])
        os.waitpid(job, 0)
        os._exit(0)
    shown = b""
    try:
        while b"accuracy" not in shown:
            assert select.select([terminal], [], [], 60)[0], shown
            shown += os.read(terminal, 65536)
        os.kill(read_status(home.status)["process"], signal.SIGTERM)
        os.waitpid(shell, 0)
        shell = 0
        assert "│".encode() not in shown
        assert b"\x1b[" not in shown
        assert b"listening at /ip4/127.0.0.1/tcp/" in shown
    finally:
        if shell:
            if home.is_running():
                os.kill(read_status(home.status)["process"], signal.SIGKILL)
            os.waitpid(shell, 0)
        os.close(terminal)


def test_a_reader_that_goes_away_ends_the_peer_in_good_order(tmp_path):
    """As with ``gossipfl peer run | head -1``."""
    home = Home(tmp_path / "alice")
    home.create(quick_settings())
    process = subprocess.Popen(
        [sys.executable, "-m", "gossipfl", "peer", "run", "--home", str(home.directory), "--json"],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert json.loads(process.stdout.readline())["peer_id"]
        process.stdout.close()
        _, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, b"")
        assert home.checkpoint.exists()
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_libraries_are_imported_ends_it_quietly(tmp_path, asked):
    home = Home(tmp_path / "alice")
    home.create(quick_settings())
    code = (
        "import sys; sys.argv = ['gossipfl', 'peer', 'run', '--home', sys.argv[1]]\n"
        "class Told:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'torch': print('importing', flush=True)\n"
        "sys.meta_path.insert(0, Told())\n"
        "from gossipfl.cli.main import main; main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(home.directory)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stdout.readline() == b"importing\n"
        process.send_signal(asked)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err) == (0, b"", b"")
        assert not home.is_running()
    finally:
        process.kill()
        process.communicate()


def test_a_roster_is_printed_for_homes_at_hand(cli, tmp_path):
    homes = [tmp_path / "alice", tmp_path / "bob"]
    address = "/ip4/127.0.0.1/tcp/4701"
    for home, flags in zip(homes, (["--network-listen", address], []), strict=True):
        assert cli("peer", "init", "--home", home, *flags)[0] == 0
    code, out, err = cli("peer", "roster", *homes)
    assert (code, err) == (0, "")
    ids = [load_identity(home).peer_id for home in homes]
    assert out.splitlines() == [f"{address}/p2p/{ids[0]}", ids[1]]  # port 0 is nowhere to be found


def test_a_misspelt_round_based_algorithm_makes_no_home(cli, tmp_path):
    code, _, err = cli("peer", "init", "--home", tmp_path / "alice", "--rounds-algorithm", "d_pgsd")
    assert code == 2
    assert "Did you mean 'd_psgd'" in err
    assert not (tmp_path / "alice").exists()


@pytest.mark.parametrize(
    ("key", "name", "parts"),
    [
        ("task.name", "digitz", ["there is no bundled task 'digitz'"]),
        ("rounds.topology", "rnig", ["there is no topology 'rnig'", "Did you mean 'ring'"]),
        ("rounds.algorithm", "d_pgsd", ["there is no algorithm 'd_pgsd'", "Did you mean 'd_psgd'"]),
    ],
)
def test_a_wrong_name_in_the_settings_is_told_with_its_file_line_and_key(cli, tmp_path, key, name, parts):
    home = tmp_path / "alice"
    ids = []
    for each in (home, tmp_path / "bob"):
        assert cli("peer", "init", "--home", each)[0] == 0
        ids.append(load_identity(each).peer_id)
    file = home / "peer.toml"
    table, _, option = key.partition(".")
    given = {"rounds.algorithm": "d_psgd", "rounds.topology": "ring", "rounds.roster": ids, key: name}
    lines, within = file.read_text().splitlines(), ""
    for number, line in enumerate(lines):
        within = line.strip("[]") if line.startswith("[") else within
        for each, value in given.items():
            if re.match(rf"(# )?{each.partition('.')[2]} =", line) and within == each.partition(".")[0]:
                lines[number] = f"{each.partition('.')[2]} = {json.dumps(value)}"
    file.write_text("\n".join(lines))
    line = lines.index(f'{option} = "{name}"') + 1
    code, _, err = cli("peer", "run", "--home", home, "--plain")
    assert code == 2, err
    assert all(part in err for part in [f"{file}:{line}:1: {key}: ", *parts]), err
    flag = "--task" if table == "task" else f"--{table}-{option}"
    code, _, err = cli("peer", "run", "--home", home, "--plain", flag, f"{name}x")
    assert code == 2, err
    assert f"{key}: " in err
    assert str(file) not in err


def test_a_round_based_algorithm_that_is_to_gossip_is_sent_to_its_own_flag(cli, tmp_path):
    code, _, err = cli("peer", "init", "--home", tmp_path / "alice", "--gossip-algorithm", "choco")
    assert code == 2
    assert "gossip.algorithm: choco runs in rounds" in err
    assert "--rounds-algorithm" in err
    assert "push_sum" not in err
    code, _, err = cli("peer", "init", "--home", tmp_path / "alice", "--rounds-algorithm", "d_pgsd")
    assert "choco" in err
    assert not any(each in err for each in (" fedavg,", "pooled_sgd", "power_gossip"))
    assert not (tmp_path / "alice").exists()


def test_the_status_says_how_the_rounds_go():
    from rich.console import Console

    from gossipfl.cli.display import status_line, status_table

    rounds = {
        "algorithm": "d_psgd",
        "topology": "ring:8",
        "agreement": "ab" * 32,
        "number": 2,
        "members": 8,
        "round": 57,
        "gathering": False,
        "missing": [1, 3],
        "absent": [3],
        "late": 4,
    }
    network = {"messages_sent": 1, "bytes_sent": 1, "messages_received": 1, "bytes_received": 1}
    values = {
        **{"started": 0.0, "updated": 0.0, "task": "t", "age": 9, "saved_age": 3, "step": 9},
        **{
            "metrics": {},
            "neighbours": 7,
            "connected": 6,
            "network": {**network, "failed": {}, "refused": {}},
        },
    }
    console = Console(width=120)
    with console.capture() as capture:
        console.print(status_table({**values, "rounds": rounds}))
    shown = capture.get()
    assert "round 57, as number 2 of 8" in shown
    assert "rows of members 1, 3" in shown
    assert "member 3: not waited for" in shown
    assert status_line({**values, "rounds": rounds}).startswith("round 57 without members 1, 3 age 9")
    assert status_line({**values, "rounds": None}).startswith("age 9")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            ["--rounds-algorithm", "fedavg"],
            r"rounds\.algorithm: fedavg runs in the simulator only: it needs a server.*expected one of .*d_psgd.*"
            r"`gossipfl sim run` simulates it",
        ),
        (
            ["--rounds-algorithm", "choco"],
            r"choco runs in the simulator only.*Peers run it with restart_every",
        ),
        (["--gossip-algorithm", "push_sum"], r"gossip\.algorithm: push_sum runs in the simulator only"),
    ],
)
def test_what_only_the_simulator_runs_is_refused_before_anything_is_made(cli, tmp_path, flags, said):
    code, out, err = cli("peer", "init", "--home", tmp_path / "alice", "--no-try", *flags)
    assert (code, out) == (2, "")
    assert re.search(said, err), err
    assert not (tmp_path / "alice").exists()


OWN_TASK = """
import gossipfl
import torch

def task():
    data = gossipfl.Dataset(
        train_inputs=torch.eye(2), train_targets=torch.tensor([0, 1]),
        test_inputs=torch.eye(2), test_targets=torch.tensor([0, 1]),
    )
    return gossipfl.Task(name="own", model=lambda: torch.nn.Linear(2, 2), data=lambda: data)
"""


@pytest.mark.parametrize("modules", [None, "tasks"])
def test_a_peer_made_with_a_module_of_the_current_directory_starts_anywhere(
    cli, modules, tmp_path, monkeypatch
):
    """As a service does, whose directory is another."""
    name = f"own_task_{modules}".lower()
    place, elsewhere = tmp_path / (modules or ""), tmp_path / "elsewhere"
    elsewhere.mkdir()
    place.mkdir(exist_ok=True)
    (place / f"{name}.py").write_text(OWN_TASK)
    monkeypatch.chdir(tmp_path)
    flags = [] if modules is None else ["--runtime-modules", modules]
    code, _, err = cli("peer", "init", "--home", "alice", "--task", f"{name}:task", *flags)
    assert (code, err) == (0, "")
    monkeypatch.chdir(elsewhere)
    monkeypatch.delitem(sys.modules, name)
    settings = load_settings(tmp_path / "alice/peer.toml")
    assert settings.runtime.modules == place
    assert task_of_home(Home(tmp_path / "alice")).name == "own"


def test_relative_modules_are_relative_to_the_home(cli, tmp_path, monkeypatch):
    home = tmp_path / "alice"
    assert cli("peer", "init", "--home", home, "--no-try")[0] == 0
    monkeypatch.chdir(tmp_path)
    settings = parse_settings({"runtime": {"modules": "own"}}, source="a test")
    assert with_modules(settings, home).runtime.modules == home / "own"
