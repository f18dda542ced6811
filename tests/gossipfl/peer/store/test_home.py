"""The directory of a peer: private, owned by one process at a time, and counting its starts for ever."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gossipfl.errors import HomeError, HomeExists, HomeInUse, HomeMissing
from gossipfl.files import write_atomically
from gossipfl.peer import Home
from gossipfl.settings import PeerSettings, load_settings


def mode(path):
    return path.stat().st_mode & 0o777


@pytest.fixture
def home(tmp_path):
    place = Home(tmp_path / "deep" / "alice")
    place.create(PeerSettings())
    return place


def test_a_new_home_is_private_and_holds_the_settings(home):
    old = os.umask(0)
    try:
        other = Home(home.directory.parent / "bob")
        other.create(PeerSettings())
    finally:
        os.umask(old)
    for place in (home, other):
        assert mode(place.directory) == mode(place.records) == 0o700
        assert mode(place.settings) == 0o600
        written = load_settings(place.settings)
        assert written.gossip.parameters == {"merge": "MU", "weighting": "age"}  # written out in full
        assert written == PeerSettings().model_copy(update={"gossip": written.gossip})


def test_a_home_others_could_read_is_closed_to_them(tmp_path):
    place = Home(tmp_path / "alice")
    place.directory.mkdir(mode=0o755)
    place.create(PeerSettings())
    assert mode(place.directory) == 0o700


def test_a_home_is_never_overwritten(home):
    before = home.settings.read_bytes()
    with pytest.raises(HomeExists, match="already holds a peer"):
        home.create(PeerSettings.model_validate({"runtime": {"number": 5}}))
    assert home.settings.read_bytes() == before


def test_a_missing_home_says_what_to_do(tmp_path):
    with pytest.raises(HomeMissing, match="gossipfl peer init --home"):
        Home(tmp_path / "nobody").require()


def test_a_home_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HomeError, match="cannot create the home"):
        Home(tmp_path / "file" / "alice").create(PeerSettings())


HOLDER = """
import sys
import time
from pathlib import Path
from gossipfl.peer.store.home import Home
with Home(Path(sys.argv[1])).locked():
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_one_process_owns_a_home_until_it_dies(home):
    assert not home.is_running()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(home.directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout.readline() == b"locked\n"
        assert home.is_running()
        with pytest.raises(HomeInUse, match=f"process {holder.pid}"), home.locked():
            pass
        holder.kill()
        holder.wait()
        assert not home.is_running()
        with home.locked():
            assert home.is_running()
            with pytest.raises(HomeInUse, match=f"process {os.getpid()}"), home.locked():
                pass
        assert not home.is_running()
    finally:
        holder.kill()
        holder.communicate()


def test_starts_are_counted_durably(home, monkeypatch):
    assert [home.next_incarnation(now=0) for _ in range(3)] == [1, 2, 3]
    assert Home(home.directory).next_incarnation(now=0) == 4

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gossipfl.peer.store.home.write_atomically", full)
    with pytest.raises(HomeError, match=r"cannot write into the home.*space.*Make room"):
        home.next_incarnation()
    monkeypatch.setattr("gossipfl.peer.store.home.write_atomically", write_atomically)
    assert home.next_incarnation(now=0) == 5


def test_starts_are_numbered_by_the_clock_and_never_back(home):
    began = int(1000 * time.time())
    assert began <= home.next_incarnation() <= 1000 * time.time()
    far = 4e9
    assert home.next_incarnation(now=far) == 4_000_000_000_000
    assert home.next_incarnation(now=far) == 4_000_000_000_001  # twice at once
    assert home.next_incarnation(now=5.0) == 4_000_000_000_002  # the clock went back
    assert home.next_incarnation(now=far + 0.0509) == 4_000_000_000_050
    assert home.next_incarnation(beyond=2**50) == 2**50 + 1
    assert home.next_incarnation() == 2**50 + 2


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("incarnation", Home.next_incarnation),
        ("peer.toml", Home.require),
        ("peer.toml", lambda home: home.create(PeerSettings())),
        ("lock", Home.is_running),
    ],
)
def test_what_the_operating_system_refuses_is_named(home, monkeypatch, name, use):
    """As root nothing is refused, so the refusal is made up."""

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    for question in ("exists", "is_file"):
        monkeypatch.setattr(Path, question, refuse)
    with pytest.raises(HomeError, match=f"got Permission denied .*{name}"):
        use(home)


@pytest.mark.parametrize("damage", [b"", b"abc", b"-3", b"\xff\xfe", "٣".encode()])
def test_a_damaged_counter_is_named(home, damage):
    (home.directory / "incarnation").write_bytes(damage)
    with pytest.raises(HomeError, match="incarnation is damaged"):
        home.next_incarnation()


def test_a_lost_counter_does_not_repeat_an_incarnation(tmp_path):
    home = Home(tmp_path / "home")
    home.create(PeerSettings())
    assert [home.next_incarnation(now=0) for _ in range(3)] == [1, 2, 3]
    (home.records / "000003.jsonl").touch()
    (home.directory / "incarnation").unlink()
    assert home.next_incarnation(now=0) == 4
