"""Machines that lack something: a home, a name, an encoding, descriptors."""

import json
import os
import resource
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from gossipfl import caches
from gossipfl.errors import CacheError
from gossipfl.peer.descriptors import room_for_connections
from tests.gossipfl.cli.test_main import cli

__all__ = ["cli"]


@pytest.fixture
def nobody(monkeypatch, tmp_path):
    """No HOME, and no entry in the password file: a container with --user."""

    def unknown():
        raise RuntimeError("Could not determine home directory.")

    for name in ("HOME", "XDG_CACHE_HOME", "USER", "LOGNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", staticmethod(unknown))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    caches._private_temporary.cache_clear()
    yield
    caches._private_temporary.cache_clear()


def test_without_a_home_caches_are_in_a_private_directory(nobody, tmp_path):
    directory = caches.cache_directory()
    assert directory.parent == tmp_path
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert caches.cache_directory() == directory


@pytest.mark.parametrize("how", ["a link", "open to others"])
def test_a_directory_that_others_could_have_put_there_is_not_used(nobody, tmp_path, how):
    usual = tmp_path / f"gossipfl-cache-{os.geteuid()}"
    if how == "a link":
        (tmp_path / "elsewhere").mkdir()
        usual.symlink_to(tmp_path / "elsewhere")
    else:
        usual.mkdir()
        usual.chmod(0o777)
    directory = caches.cache_directory()
    assert directory != usual
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_a_home_that_cannot_be_written_is_not_used(monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HOME", str(tmp_path / "file"))  # nothing can be made in it, whoever runs this
    caches._private_temporary.cache_clear()
    assert caches.cache_directory().parent == tmp_path
    caches._private_temporary.cache_clear()


@pytest.fixture
def own(monkeypatch, tmp_path):
    """A cache of one's own, and another place for temporary files."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    caches._private_temporary.cache_clear()
    caches._say_once.cache_clear()
    yield tmp_path / "cache"
    caches._private_temporary.cache_clear()


def modes(*directories):
    return [oct(stat.S_IMODE(each.stat().st_mode)) for each in directories]


def test_code_is_kept_where_nobody_else_can_write(own):
    directory = caches.code_directory("kernels")
    assert directory == own / "gossipfl" / "kernels"
    assert modes(directory) == ["0o700"]


def test_code_that_others_could_have_written_is_deleted(own):
    """A umask of 2, or somebody who made the directory open: what lies there may be anybody's."""
    directory = own / "gossipfl" / "kernels"
    (directory / "inner").mkdir(parents=True)
    for name, mode in (("theirs", 0o664), ("inner/theirs", 0o666), ("mine", 0o644), ("inner/mine", 0o600)):
        (directory / name).write_text("code")
        (directory / name).chmod(mode)
    (directory / "link").symlink_to("/bin/sh")
    for each in (directory.parent, directory):
        each.chmod(0o777)
    assert caches.code_directory("kernels") == directory
    assert modes(directory.parent, directory) == ["0o755", "0o700"]
    assert sorted(str(each.relative_to(directory)) for each in directory.rglob("*")) == [
        "inner",
        "inner/mine",
        "mine",
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("whose", ["gossipfl", "gossipfl/kernels"])
def test_code_is_not_kept_in_a_directory_of_somebody_else(own, tmp_path, whose, caplog):
    (own / "gossipfl" / "kernels").mkdir(parents=True)
    os.chown(own / whose, 12345, 12345)
    directory = caches.code_directory("kernels")
    assert directory.is_relative_to(tmp_path / "temporary")
    assert modes(directory, directory.parent) == ["0o700", "0o700"]
    assert "XDG_CACHE_HOME" in caplog.text


def test_code_is_not_kept_where_anybody_may_rename_directories(own, tmp_path):
    own.mkdir()
    own.chmod(0o777)
    assert caches.code_directory("kernels").is_relative_to(tmp_path / "temporary")
    own.chmod(0o1777)  # as /tmp: others' directories cannot be renamed
    assert caches.code_directory("kernels") == own / "gossipfl" / "kernels"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("mode", [0o755, 0o1755])
def test_code_is_not_kept_below_a_directory_of_somebody_else(own, tmp_path, mode):
    """As with sudo, which leaves HOME: the owner could put a directory of theirs in the place of root's."""
    own.mkdir(mode=0o755)
    os.chown(own, 12345, 12345)
    own.chmod(mode)
    assert caches.code_directory("kernels").is_relative_to(tmp_path / "temporary")
    os.chown(own, 0, 0)
    assert caches.code_directory("kernels") == own / "gossipfl" / "kernels"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_code_is_not_kept_where_a_group_may_rename_directories(own, tmp_path, monkeypatch):
    """A umask of 2 leaves directories open to a group: that of the user alone, or a shared one."""
    own.mkdir()
    os.chown(own, 0, 12345)
    own.chmod(0o775)
    kept = own / "gossipfl" / "kernels"
    groups = {12345: ("someone", []), 0: ("root", [])}
    monkeypatch.setattr(
        "grp.getgrgid", lambda gid: SimpleNamespace(gr_name=groups[gid][0], gr_mem=groups[gid][1])
    )
    monkeypatch.setattr("pwd.getpwuid", lambda _: SimpleNamespace(pw_name="someone", pw_dir="/root"))
    assert caches.code_directory("kernels") == kept
    for shared in (("someone", ["other"]), ("staff", [])):
        groups[12345] = shared
        assert caches.code_directory("kernels").is_relative_to(tmp_path / "temporary")
    del groups[12345]  # of nobody whom this machine knows
    assert caches.code_directory("kernels").is_relative_to(tmp_path / "temporary")
    groups[12345] = ("staff", [])
    own.chmod(0o1775)
    assert caches.code_directory("kernels") == kept


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_root_makes_nothing_in_the_home_of_somebody_else(tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    theirs, roots = tmp_path / "theirs", tmp_path / "root"
    theirs.mkdir()
    os.chown(theirs, 12345, 12345)
    monkeypatch.setenv("HOME", str(theirs))
    monkeypatch.setattr("pwd.getpwuid", lambda _: SimpleNamespace(pw_name="root", pw_dir=str(roots)))
    assert caches.cache_directory() == roots / ".cache" / "gossipfl"
    assert list(theirs.iterdir()) == []
    os.chown(theirs, 0, 0)
    assert caches.cache_directory() == theirs / ".cache" / "gossipfl"


def test_compilers_keep_their_code_in_such_directories(own, monkeypatch):
    for name in ("NUMBA_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    caches.keep_compilers_caches()
    kernels, traced = (Path(os.environ[name]) for name in ("NUMBA_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR"))
    assert [kernels.parent, traced] == [own / "gossipfl" / "kernels", own / "gossipfl" / "inductor"]
    assert modes(kernels.parent, traced) == ["0o700", "0o700"]


def test_kernels_are_kept_for_the_files_that_they_are_compiled_from(own, tmp_path, monkeypatch):
    """Numba itself would load a function that has earlier functions of other files in it."""

    def place() -> str:
        monkeypatch.setenv("NUMBA_CACHE_DIR", "")
        monkeypatch.delenv("NUMBA_CACHE_DIR")
        caches.keep_compilers_caches(files)
        return os.environ["NUMBA_CACHE_DIR"]

    files = [tmp_path / "caller.py", tmp_path / "callee.py"]
    for file in files:
        file.write_text("x = 1\n", encoding="utf-8")
    before = place()
    assert place() == before
    files[1].write_text("x = 2\n", encoding="utf-8")
    assert place() != before
    files[1].write_text("x = 1\n", encoding="utf-8")
    assert place() == before


def test_caches_are_shown_and_cleared(cli, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name, size in (("data", 10), ("compiled", 2000), ("kernels", 30)):
        file = tmp_path / "gossipfl" / name / "deep" / "file"
        file.parent.mkdir(parents=True)
        file.write_bytes(bytes(size))
    code, out, _ = cli("cache", "show", "--json")
    assert code == 0
    sizes = {each["name"]: each["bytes"] for each in json.loads(out)}
    assert sizes == {"data": 10, "compiled": 2000, "traces": 0, "inductor": 0, "kernels": 30}
    assert cli("cache", "clear", "compiled")[0] == 0
    assert sorted(path.name for path in (tmp_path / "gossipfl").iterdir()) == ["data", "kernels"]
    assert "gossipfl cache clear" in cli("cache", "show")[1]
    assert cli("cache", "clear")[0] == 0
    assert list((tmp_path / "gossipfl").iterdir()) == []
    code, _, err = cli("cache", "clear", "kernel")
    assert (code, "one of data, compiled" in err) == (2, True)
    with pytest.raises(CacheError, match="no cache"):
        caches.clear("../../etc")


def test_the_compilers_keep_their_caches_there_unless_told_otherwise(tmp_path):
    code = "import os, sims; print(os.environ['NUMBA_CACHE_DIR'], os.environ['TORCHINDUCTOR_CACHE_DIR'])"
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "NUMBA_CACHE_DIR": "/elsewhere"}
    del environment["NUMBA_CACHE_DIR"]
    environment.pop("TORCHINDUCTOR_CACHE_DIR", None)
    for own in ({}, {"NUMBA_CACHE_DIR": "/elsewhere"}):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**environment, **own},
            capture_output=True,
            text=True,
            check=True,
        )
        kernels, inductor = done.stdout.split()
        if own:
            assert kernels == own["NUMBA_CACHE_DIR"]
        else:
            assert Path(kernels).parent == tmp_path / "gossipfl" / "kernels"
        assert inductor == str(tmp_path / "gossipfl" / "inductor")


ONE_AFTER_THE_OTHER = """
import sys
from gossipfl.cli.main import main
ends = []
for arguments in {commands!a}:
    sys.argv = ["gossipfl", *arguments]
    try:
        main()
    except SystemExit as end:
        ends.append(str(end.code or 0))
print("ended with", ", ".join(ends))
"""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_an_output_that_is_not_utf_8_gets_what_it_can_show(tmp_path, encoding):
    commands = [
        ["peer", "init", "--home", str(tmp_path / "Zürich-Łódź"), "--no-try"],
        ["peer", "init", "--home", str(tmp_path / "a"), "--task", "dígits"],
    ]
    done = subprocess.run(
        [sys.executable, "-c", ONE_AFTER_THE_OTHER.format(commands=commands)],
        env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
        capture_output=True,
        check=False,
    )
    assert b"ended with 0, 2" in done.stdout, done.stderr
    assert b"Made peer 12D3KooW" in done.stdout
    assert b"there is no bundled task" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.fixture
def limit_of_files():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield lambda soft, hard=None: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard or before[1]))
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_low_soft_limit_of_files_is_raised(limit_of_files, caplog):
    limit_of_files(64)
    assert room_for_connections(100) == 100
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 140
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("files", "code", "said"),
    [(60, 0, "room for 20 connections instead of"), (30, 2, "too few files"), (8, 2, "Too many open files")],
)
def test_a_peer_with_few_files_says_so_and_what_to_do(cli, tmp_path, files, code, said):
    """In a process of its own: a hard limit cannot be raised again."""
    home = tmp_path / "alice"
    made, _, err = cli("peer", "init", "--home", home, "--no-try", "--network-listen", "/ip4/127.0.0.1/tcp/0")
    assert made == 0, err
    run = [
        sys.executable,
        "-m",
        "gossipfl",
        "peer",
        "run",
        "--home",
        str(home),
        "--plain",
        "--until-stdin-ends",
    ]
    with subprocess.Popen(
        ["sh", "-c", f'ulimit -n {files}; exec "$@"', "sh", *run],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        seen = process.stdout.read() if code else ""  # until it has ended
        while code == 0 and "listening at" not in seen and process.poll() is None:
            seen += process.stdout.readline()
        seen += process.communicate(timeout=120)[0] or ""
    assert process.returncode == code, seen
    assert said in seen
    assert "ulimit -n" in seen
    assert "Traceback" not in seen
