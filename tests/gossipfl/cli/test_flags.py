"""Flags mirror the settings: every one has a flag, and a flag takes the place of the file."""

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
import typer

from gossipfl.cli import peer as peer_commands
from gossipfl.cli.flags import parse_assignment
from gossipfl.errors import SettingError
from gossipfl.peer import Home
from gossipfl.settings import GossipSettings, PeerSettings, load_settings

from .test_main import cli

__all__ = ["cli"]

SETTINGS = [
    (table, key)
    for table, field in PeerSettings.model_fields.items()
    if table != "outgoing"  # an array of tables has no flags
    for key in field.annotation.model_fields
    if (table, key) != ("training", "privacy")  # a table in a table has none either
]
RENAMED = {("task", "name"): "--task", ("task", "options"): "--option"}

#: For each setting a value that is not its default, as typed, and as it must arrive.
OTHER_VALUES = {
    ("runtime", "device"): ("auto", "auto"),
    ("network", "upload_mbits"): ("37", 37.0),
    ("network", "download_mbits"): ("37", 37.0),
    ("gate", "peak"): ("37", 37.0),
    ("task", "options"): ("seed=3", {"seed": 3}),
    ("task", "metrics"): ("examples.recall:macro_recall", ["examples.recall:macro_recall"]),
    ("training", "schedule"): ("cosine", "cosine"),
    ("gossip", "algorithm"): ("gossip_learning", "gossip_learning"),
    ("exchange", "mode"): ("push", "push"),
    ("membership", "door"): ("open", "open"),
    ("exchange", "codec"): ("bfloat16", "bfloat16"),
    ("network", "listen"): ("/ip4/127.0.0.1/tcp/4001", ["/ip4/127.0.0.1/tcp/4001"]),
    ("network", "announce"): ("/ip4/1.2.3.4/tcp/4001", ["/ip4/1.2.3.4/tcp/4001"]),
    ("network", "bootstrap"): (
        "/ip4/1.2.3.4/tcp/1/p2p/12D3KooWHM3zPRwnzjUcCxXp5at7DDVowGPxwsFJrSm7dmihFAQV",
        ["/ip4/1.2.3.4/tcp/1/p2p/12D3KooWHM3zPRwnzjUcCxXp5at7DDVowGPxwsFJrSm7dmihFAQV"],
    ),
    ("network", "relay"): (
        "/ip4/1.2.3.4/tcp/1/p2p/12D3KooWHM3zPRwnzjUcCxXp5at7DDVowGPxwsFJrSm7dmihFAQV",
        ["/ip4/1.2.3.4/tcp/1/p2p/12D3KooWHM3zPRwnzjUcCxXp5at7DDVowGPxwsFJrSm7dmihFAQV"],
    ),
    ("network", "allow"): (
        "12D3KooWHM3zPRwnzjUcCxXp5at7DDVowGPxwsFJrSm7dmihFAQV",
        ["12D3KooWHM3zPRwnzjUcCxXp5at7DDVowGPxwsFJrSm7dmihFAQV"],
    ),
    ("training", "clip_norm"): ("2.5", 2.5),
    ("training", "final_fraction"): ("0.5", 0.5),
    ("training", "decay_share"): ("0.5", 0.5),
    ("training", "momentum"): ("0.5", 0.5),
    ("exchange", "jitter"): ("0.5", 0.5),
    ("gate", "angle"): ("0.5", 0.5),
    ("view", "exchanged"): ("9", 9),
    ("task", "name"): ("digits", "digits"),
    ("runtime", "modules"): ("/tmp", Path("/tmp")),
    ("bootstrap", "file"): ("peers.txt", Path("peers.txt")),
    ("log", "level"): ("debug", "debug"),
    ("log", "format"): ("json", "json"),
    ("page", "metrics_at"): ("127.0.0.2:9465", "127.0.0.2:9465"),
    ("stats", "columns"): ("age", ["age"]),
    ("personal", "head"): ("layers.*", "layers.*"),
    ("policy", "merge"): ("then", "then"),
    ("policy", "other_cpu"): ("0.25", 0.25),
    ("policy", "battery"): ("0.4", 0.4),
    ("policy", "hours"): ("Fri 22:00-06:30", ["Fri 22:00-06:30"]),
    ("policy", "timezone"): ("Europe/Paris", "Europe/Paris"),
    ("policy", "temperature"): ("80", 80.0),
    ("policy", "memory_pressure"): ("0.1", 0.1),
    ("policy", "script"): ("/bin/true", Path("/bin/true")),
    ("policy", "unreadable"): ("train", "train"),
    ("rounds", "algorithm"): ("d_psgd", "d_psgd"),
    ("rounds", "parameters"): ("order=both-at-once", {"order": "both-at-once"}),
    ("rounds", "topology"): ("ring:8", "ring:8"),
    ("rounds", "roster"): ("12D3KooW", ["12D3KooW"]),
    ("rounds", "roster_file"): ("roster.txt", "roster.txt"),
    ("rounds", "stop_after"): ("100", 100),
}

OF_ANOTHER_TASK = {("keyboard", "enabled")}
OF_OTHER_OPTIMISERS = {("training", key) for key in ("optimiser", "beta1", "beta2", "epsilon", "clock")}
RELAYING = {"relay", "offer_relay"}
PARAMETERS_OF_GOSSIP = {"merge": ("UM", "UM"), "weighting": ("plain", "plain"), "merge_limit": ("37", 37)}


def flag(table, key):
    return RENAMED.get((table, key), f"--{table}-{key}".replace("_", "-"))


@pytest.mark.parametrize("command", ["init", "run"])
def test_every_setting_has_a_flag_with_its_description(command):
    group = typer.main.get_command(peer_commands.app)
    options = {
        name: each for each in group.get_command(click.Context(group), command).params for name in each.opts
    }
    for table, key in SETTINGS:
        field = PeerSettings.model_fields[table].annotation.model_fields[key]
        assert field.description in options[flag(table, key)].help.replace("\\", "")


@pytest.mark.parametrize("without", ["bootstrap", "rounds"])  # a peer in rounds looks for nobody else
def test_every_flag_arrives_in_the_file(cli, tmp_path, without):
    arguments, expected = [], {}
    for table, key in SETTINGS:
        kind = PeerSettings.model_fields[table].annotation.model_fields[key].annotation
        in_rounds = without == "bootstrap"
        if (table, key) in OF_OTHER_OPTIMISERS | OF_ANOTHER_TASK or table == without:
            continue
        if in_rounds and key in RELAYING:
            continue
        text, value = OTHER_VALUES.get((table, key), ("37", kind(37) if kind in (int, float) else None))
        arguments += [flag(table, key)] if kind is bool else [flag(table, key), text]
        value = True if kind is bool else value
        expected[table, key] = value
    for key, (text, value) in PARAMETERS_OF_GOSSIP.items():
        arguments += [flag("gossip", key), text]
        expected["gossip", key] = value
    code, _, err = cli("peer", "init", "--home", tmp_path / "alice", *arguments)
    assert (code, err) == (0, "")
    got = load_settings(tmp_path / "alice" / "peer.toml")
    for (table, key), value in expected.items():
        assert getattr(getattr(got, table), key) == value, (table, key)


def test_what_has_no_flag_takes_its_default(cli, tmp_path):
    assert cli("peer", "init", "--home", tmp_path / "alice")[0] == 0
    got = load_settings(tmp_path / "alice" / "peer.toml")
    assert got.gossip.parameters == {"merge": "MU", "weighting": "age"}
    assert got.model_copy(update={"gossip": GossipSettings()}) == PeerSettings()


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("a=1", ("a", 1)),
        ("a=1.5", ("a", 1.5)),
        ("a=true", ("a", True)),
        ("a=[1, 2]", ("a", [1, 2])),
        ('a="1"', ("a", "1")),
        ("a=shards:2", ("a", "shards:2")),
        ("a=b=c", ("a", "b=c")),
        ("a=", ("a", "")),
        ("a=/tmp/x.csv", ("a", "/tmp/x.csv")),
        ("a=1\nb = 2", ("a", "1\nb = 2")),
    ],
)
def test_options_of_a_task_are_read_as_toml_or_text(text, pair):
    assert parse_assignment(text) == pair


@pytest.mark.parametrize("text", ["a", "=1", ""])
def test_an_option_without_its_name_is_refused(text):
    with pytest.raises(SettingError, match="KEY=VALUE"):
        parse_assignment(text)


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        (["--gossip-merge", "AVG"], ["gossip.merge", "'RW', 'MU' or 'UM'"]),
        (["--training-learning-rate", "-1"], ["training.learning_rate", "greater than 0"]),
        (["--option", "x"], ["KEY=VALUE"]),
        (["--network-listen", "here"], ["network.listen"]),
        (["--network-listen", "/ip4/0.0.0.0/tcp/70000"], ["network.listen", "0 … 65535", "'70000'"]),
        (["--network-allow", "12D3KooWalice"], ["network.allow", "not a peer id", "gossipfl peer init"]),
        (["--option", "partition=shard:2"], ["unknown partition", "Did you mean 'shards'?"]),
        (["--option", "partition=shards:0"], ["'shards' needs a parameter", "positive whole number"]),
        (["--option", "peers=2", "--option", "index=2"], ["index 2 of 2 peers"]),
        (["--training-batch-size", "many"], ["--training-batch-size"]),
    ],
)
def test_a_wrong_flag_is_named_and_nothing_is_made(cli, tmp_path, flags, parts):
    code, _, err = cli("peer", "init", "--home", tmp_path / "alice", *flags)
    assert code == 2
    assert all(part in err for part in parts)
    assert not Home(tmp_path / "alice").settings.exists()


def test_a_flag_takes_the_place_of_the_file_for_one_run(cli, tmp_path):
    """Seen from outside: the run's own record of its settings."""
    home = Home(tmp_path / "alice")
    assert cli("peer", "init", "--home", home.directory, "--training-momentum", "0.3")[0] == 0
    before = home.settings.read_bytes()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "gossipfl", "peer", "run", "--home", str(home.directory), "--json"),
            *("--training-learning-rate", "0.7", "--exchange-period", "0.5"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        first = json.loads(process.stdout.readline())
        process.terminate()
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, b"")
        assert all(json.loads(line)["peer_id"] == first["peer_id"] for line in out.splitlines())
    finally:
        process.kill()
        process.communicate()
    start = json.loads(min(home.records.iterdir()).read_text().splitlines()[0])
    used = json.loads(start["settings"])
    assert (used["training"]["learning_rate"], used["training"]["momentum"]) == (0.7, 0.3)
    assert home.settings.read_bytes() == before
