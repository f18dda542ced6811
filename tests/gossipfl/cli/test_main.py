"""The command: quick to help, and exit codes that scripts can rely on."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from gossipfl import __version__
from gossipfl.cli.main import _EXTRAS, main
from tests.integration.peers import TASK

PEER_ID = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"

LOADED = """
import sys
from gossipfl.cli.main import main
sys.argv = ["gossipfl", *{arguments!r}]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
import json
print("\\n" + json.dumps(sorted({{name.partition(".")[0] for name in sys.modules}})))
"""


@pytest.fixture
def cli(monkeypatch, capsys):
    """Run the command in this process; returns exit code, standard output and standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["gossipfl", *map(str, arguments)])
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        else:
            code = 0
        return code, *capsys.readouterr()

    return run


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["peer", "--help"], ["peer", "run", "--help"], ["demo", "--help"]],
)
def test_help_imports_no_heavy_library(arguments):
    """In a process of its own: what the tests have imported would hide it."""
    code = LOADED.format(arguments=arguments)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = json.loads(done.stdout.splitlines()[-1])
    assert "typer" in loaded  # the probe sees what is loaded
    assert not set(loaded) & {"torch", "libp2p", "numpy", "trio", "polars", "sklearn", "matplotlib", "scipy"}


FORKED = """
import importlib.metadata, sys
import gossipfl.cli.forked
before = set(sys.modules)
def read_again(*_, **__):
    raise AssertionError("metadata are read again")
importlib.metadata.Distribution.discover = read_again
from gossipfl.cli.main import main
sys.argv = ["gossipfl", "peer", "status", "--home", "nowhere"]
try:
    main()
finally:
    new = sorted(set(sys.modules) - before)
    print([name for name in new if name.startswith(("gossipfl.cli.", "gossipfl.algorithms."))])
"""


def test_a_process_that_forks_peers_has_done_what_each_would_do_again():
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "[]\n"), done.stderr
    assert "nowhere holds no peer" in done.stderr


EACH = """
import json, sys
from gossipfl.cli.main import main
for arguments in {commands!r}:
    sys.argv = ["gossipfl", *arguments]
    try:
        main()
    except SystemExit as end:
        assert end.code in (0, 1, 3, None), (arguments, end.code)  # findings, a stopped peer
    heavy = {{"torch", "numpy", "scipy", "safetensors", "libp2p"}} & set(sys.modules)
    assert not heavy, (arguments, heavy)
print("none is heavy")
"""


def test_what_an_operator_asks_often_needs_no_torch(cli, tmp_path):
    """In a process of its own, one after the other."""
    home, draft = str(tmp_path / "home"), tmp_path / "draft"
    cli("peer", "init", "--home", home, "--no-try")
    cli("network", "create", "--home", home)
    _, out, _ = cli("network", "key", "--to", tmp_path)
    rotation = ("network", "rotate", "--home", home, "--draft", "--key", out.strip())
    draft.write_text(cli(*rotation)[1])
    commands = [
        ["doctor", "--home", home],
        ["network", "invite", "--home", home, "--address", "/ip4/127.0.0.1/tcp/4001"],
        ["network", "members", "--home", home],
        ["network", "show", "--home", home],
        ["network", "secret", "--home", home],
        list(rotation),
        ["network", "sign", str(draft), "--home", home, "--keys", home + "/membership/keys", "--yes"],
        ["network", "admit", PEER_ID, "--home", home],
        ["network", "revoke", PEER_ID, "--home", home],
        ["peer", "policy", "--home", home],
        ["peer", "pause", "--home", home],
        ["peer", "backup", home, str(tmp_path / "backup.tar.gz")],
    ]
    done = subprocess.run(
        [sys.executable, "-c", EACH.format(commands=commands)], capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines()[-1:] == ["none is heavy"], done.stderr


def test_version(cli):
    assert cli("--version") == (0, f"gossipfl {__version__}\n", "")


def test_sub_commands_of_other_packages_are_listed(cli):
    code, out, _ = cli("--help")
    assert code == 0
    assert all(name in out for name in ("peer", "demo", "topology"))


def test_a_sub_command_whose_library_is_missing_says_what_to_install(cli, tmp_path):
    home = tmp_path / "home"
    cli("peer", "init", "--home", home)
    program = (
        "import sys; sys.modules['noise'] = None; "
        f"sys.argv = ['gossipfl', 'peer', 'run', '--home', {str(home)!r}]; "
        "from gossipfl.cli.main import main; main()"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "`gossipfl peer` needs noise" in ended.stderr
    assert "pip install 'gossipfl[demo]'" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["peer", "nonsense"], ["peer", "init", "--nonsense", "1"]]
)
def test_usage_errors_exit_with_2(cli, arguments):
    code, _, err = cli(*arguments)
    assert code == 2
    assert "No such" in err


@pytest.mark.parametrize(
    ("typed", "meant"), [("topolgy", "topology"), ("per", "peer"), ("netwrok", "network"), ("sims", "sim")]
)
def test_a_mistyped_command_is_told_what_was_meant(cli, typed, meant):
    code, _, err = cli(typed)
    assert code == 2
    assert f"Did you mean '{meant}'" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["peer", "status", "--home", "a", "--home=b"], "--home is given more than once"),
        (["predict", "--home", "a", "--home", "b", "-"], "--home is given more than once"),
        (
            ["peer", "init", "--home", "a", "--task", "digits", "--task", "blobs"],
            "--task is given more than once",
        ),
        (
            ["sim", "run", "scenario.toml", "--device", "cpu", "--device", "cuda"],
            "--device is given more than once",
        ),
        (
            ["peer", "init", "--home", "a", "--option", "index=1", "--option", "index=2"],
            "--option gives 'index' more",
        ),
        (
            ["peer", "init", "--home", "a", "--gossip-merge", "UM", "--gossip-merge=MU"],
            "gives 'merge' more than once",
        ),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else None,
)
def test_an_option_of_one_value_is_taken_once(cli, arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = cli(*arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert "expected one value" in err
    assert not list(tmp_path.iterdir())


def test_an_option_of_several_values_may_be_repeated(cli, tmp_path):
    flags = ["--option", "index=1", "--option", "seed=3", *["--network-listen", "/ip4/127.0.0.1/tcp/0"] * 2]
    code, _, err = cli("peer", "init", "--home", tmp_path / "alice", "--no-try", "--task", TASK, *flags)
    assert (code, err) == (0, "")


def test_every_command_of_another_package_has_an_extra_of_users():
    text = (Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8")
    declared = tomllib.loads(text)["project"]
    for command in declared["entry-points"]["gossipfl.commands"]:
        assert set(_EXTRAS[command].split(",")) <= set(declared["optional-dependencies"]) - {"dev"}
