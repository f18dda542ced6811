"""An operator's script: its exit code, and that nothing it does holds up or outlives the check."""

import os
from pathlib import Path

import pytest
import trio

from gossipfl.errors import SettingError
from gossipfl.peer.policy.script import read_script, require_script
from tests.gossipfl.network.helpers import in_trio, until


@pytest.fixture
def script(tmp_path):
    def make(body, *, mode=0o700):
        path = tmp_path / "may-train"
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(mode)
        return path

    return make


@in_trio
async def test_the_exit_code_decides_and_the_first_line_says_why(script):
    found = await read_script(script("echo plugged in; exit 0"), seconds=30)
    assert (found.value, found.text) == (1.0, "may-train exited with code 0: plugged in")
    found = await read_script(script("echo 'on call\a' >&2; echo more; exit 7"), seconds=30)
    assert (found.value, found.text) == (0.0, "may-train exited with code 7: on call")


@in_trio
async def test_one_that_hangs_is_killed_with_its_group(script, tmp_path):
    path = script("sleep 1000 & echo $! > child; mv child pid; wait")
    found = None

    async def read():
        nonlocal found
        found = await read_script(path, seconds=1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await until((tmp_path / "pid").exists)
    assert found.value is None
    assert found.text.endswith("did not end within 1 s and was killed")
    await until(lambda: _is_gone(int((tmp_path / "pid").read_text())))


@in_trio
async def test_what_it_leaves_behind_ends_with_it(script, tmp_path):
    path = script("sleep 1000 & echo $! > pid")
    assert (await read_script(path, seconds=1000)).value == 1.0
    await until(lambda: _is_gone(int((tmp_path / "pid").read_text())))


@in_trio
async def test_a_cancelled_check_kills_it_too(script, tmp_path):
    path = script("echo $$ > own; mv own pid; exec sleep 1000")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: read_script(path, seconds=1000))
        await until((tmp_path / "pid").exists)
        nursery.cancel_scope.cancel()
    await until(lambda: _is_gone(int((tmp_path / "pid").read_text())))


@in_trio
async def test_megabytes_of_output_are_cut(script):
    found = await read_script(script("head -c 20000000 /dev/zero | tr '\\0' a; exit 1"), seconds=60)
    assert found.value == 0.0
    assert found.text == f"may-train exited with code 1: {'a' * 200}"


@in_trio
async def test_one_that_is_killed_missing_or_no_program_is_unreadable(script, tmp_path):
    assert "was ended by a signal: Killed" in (await read_script(script("kill -9 $$"), seconds=30)).text
    binary = tmp_path / "binary"
    binary.write_bytes(b"\x00no program")
    binary.chmod(0o700)
    assert "cannot be run: Exec format error" in (await read_script(binary, seconds=30)).text


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        (None, "may-train cannot be read: No such file or directory"),
        (0o600, "may-train may not be run"),
        (0o722, "may-train may be written by others"),
        (0o770, "may-train may be written by others"),
    ],
)
def test_a_script_that_cannot_be_trusted_or_run_is_refused(script, mode, said):
    path = script("exit 0", mode=mode or 0o700)
    if mode is None:
        path.unlink()
    found = trio.run(lambda: read_script(path, seconds=30))
    assert found.value is None
    assert said in found.text
    with pytest.raises(SettingError, match=r"policy\.script: .*chmod 700"):
        require_script(path)


@in_trio
async def test_it_sees_few_variables_and_no_input(script, tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "x")
    found = await read_script(script('cat; test -z "$SECRET_TOKEN" && test -n "$PATH" && pwd'), seconds=30)
    assert (found.value, found.text) == (1.0, f"may-train exited with code 0: {tmp_path}")


def _is_gone(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_one_of_another_user_is_refused(script):
    path = script("exit 0", mode=0o755)
    if os.geteuid():
        pytest.skip("only root can give a file away")
    os.chown(path, 12345, 0)
    with pytest.raises(SettingError, match="may be written by others"):
        require_script(path)
