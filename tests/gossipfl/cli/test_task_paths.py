"""Paths among a task's options, from the flags of ``gossipfl peer`` to the data."""

from gossipfl.cli.running import with_paths_of_flags
from gossipfl.peer import Home, Peer
from gossipfl.peer.saved_model import task_of_home
from gossipfl.settings import load_settings

from .test_main import cli

__all__ = ["cli"]

PATH_TASK = """
from pathlib import Path
from tests.integration import tasks

def task(*, file: {kind}, index: int = 0):
    assert isinstance(file, {kind})
    made = tasks.blobs(index=int(open(file).read()))
    return made
"""


def test_paths_of_a_task_are_relative_to_where_they_are_written(cli, tmp_path, monkeypatch):
    """In a flag to the current directory, in peer.toml to the home, wherever the peer is started."""
    home, elsewhere = tmp_path / "alice", tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name, kind in (("own_path_task", "Path"), ("own_text_task", "str")):
        (tmp_path / f"{name}.py").write_text(PATH_TASK.format(kind=kind))
    for number, place in enumerate((tmp_path, elsewhere)):
        (place / "data").mkdir()
        (place / "data" / "number").write_text(str(number))
    monkeypatch.chdir(tmp_path)
    flags = ["--task", "own_text_task:task", "--option", "file=data/number"]
    code, out, _ = cli("peer", "init", "--home", tmp_path / "bob", *flags)
    assert (code, "leads to a file from this directory alone" in out) == (0, True)
    flags[1] = "own_path_task:task"
    code, out, err = cli("peer", "init", "--home", home, *flags)
    assert (code, "leads to a file" in out) == (0, False), err
    written = load_settings(home / "peer.toml")
    assert written.task.options == {"file": str(tmp_path / "data" / "number")}

    relative = home / "peer.toml"
    relative.write_text(relative.read_text().replace(str(tmp_path / "data"), "../data"))
    assert load_settings(relative).task.options == {"file": "../data/number"}
    monkeypatch.chdir(elsewhere)
    peer = Peer(home)
    assert peer.settings.task.options == {"file": str(home / "../data/number")}
    assert peer.task.dataset().samples == task_of_home(Home(home)).dataset().samples
    overrides = {"task": {"options": {"file": "data/number"}}}
    settings = with_paths_of_flags(load_settings(relative, overrides), overrides, home)
    assert settings.task.options == {"file": str(elsewhere / "data" / "number")}
