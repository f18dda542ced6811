"""A disk that is really full, or mounted read-only: a peer says so, and loses nothing that it had saved."""

import subprocess
from contextlib import contextmanager

import pytest
import trio

from gossipfl.errors import HomeError
from gossipfl.peer import Peer
from gossipfl.peer.store.checkpoint import read_row
from tests.gossipfl.network.helpers import in_trio, until
from tests.integration.peers import quick_settings, records_of, running

QUICK = {"exchange": {"patience": 0.01}, "checkpoint": {"period": 0.1}}


@contextmanager
def small_disk(directory, *, kilobytes):
    directory.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(directory)],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"needs to mount a disk: {made.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


def remount(directory, how):
    subprocess.run(["mount", "-o", f"remount,{how}", str(directory)], check=True)


def conditions(peer):
    return {each["name"] for each in peer.status().conditions}


@in_trio
async def test_a_peer_fills_its_disk_and_goes_on_when_there_is_room(tmp_path):
    with small_disk(tmp_path / "disk", kilobytes=200):
        peer = Peer(tmp_path / "disk" / "alice", settings=quick_settings(**QUICK))
        async with running(peer):
            await until(lambda: peer.status().saved_age > 0)
            ballast = tmp_path / "disk" / "ballast"
            with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
                while True:
                    file.write(bytes(4096))
            await until(lambda: {"disk", "records"} <= conditions(peer))
            [disk] = [each for each in peer.status().conditions if each["name"] == "disk"]
            assert "Make room on the disk" in disk["text"]
            age, saved = peer.status().age, peer.status().saved_age
            assert read_row(peer.home.checkpoint)[1] >= saved
            await until(lambda: peer.status().age > age + 5)
            ballast.unlink()
            await until(lambda: not conditions(peer))
            await until(lambda: peer.status().saved_age > age)
        assert records_of(peer.home, "gap")
        async with running(Peer(peer.home.directory)) as [again]:
            assert again.status().age >= age


@in_trio
async def test_a_disk_that_can_only_be_read_is_named(tmp_path):
    with small_disk(tmp_path / "disk", kilobytes=400):
        peer = Peer(tmp_path / "disk" / "alice", settings=quick_settings(**QUICK))
        async with running(peer):
            await until(lambda: peer.status().saved_age > 0)
        before = read_row(peer.home.checkpoint)[1]
        remount(tmp_path / "disk", "ro")
        with pytest.raises(
            HomeError, match=r"Read-only file system.*Mount the disk so that it can be written"
        ):
            await Peer(peer.home.directory).run()
        remount(tmp_path / "disk", "rw")
        assert read_row(peer.home.checkpoint)[1] == before
        again = Peer(peer.home.directory)
        async with running(again):
            with trio.fail_after(10):
                await until(lambda: again.status().age > before)
