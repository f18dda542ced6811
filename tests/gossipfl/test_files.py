"""Replacing a file: a crash at any step leaves the old content or the new."""

import os
import signal
import subprocess
import sys

import pytest

from gossipfl.files import write_atomically

STEPS = ["open", "write", "fsync", "replace", "fsync of the directory"]


class Crash(BaseException):
    """As final as SIGKILL for the code under test."""


def crash_at(step, monkeypatch):
    """Let one step fail, before it has any effect."""

    def crash(*_, **__):
        raise Crash

    real_fsync, calls = os.fsync, []

    def second_fsync(descriptor):
        calls.append(descriptor)
        if len(calls) == 2:
            raise Crash
        real_fsync(descriptor)

    match step:
        case "fsync of the directory":
            monkeypatch.setattr(os, "fsync", second_fsync)
        case _:
            monkeypatch.setattr(os, step, crash)


@pytest.mark.parametrize("step", STEPS)
def test_failing_at_any_step_leaves_a_whole_file(step, tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, b"old" * 1000)
    with monkeypatch.context() as patched:
        crash_at(step, patched)
        with pytest.raises(Crash):
            write_atomically(path, b"new" * 2000)
    assert path.read_bytes() == (b"new" * 2000 if step == "fsync of the directory" else b"old" * 1000)
    assert list(tmp_path.iterdir()) == [path]  # nothing is left lying about


def test_the_content_is_on_the_disk_before_the_name_points_to_it(tmp_path, monkeypatch):
    order = []
    real_fsync, real_replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (order.append("fsync"), real_fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append("replace"), real_replace(a, b)))
    write_atomically(tmp_path / "file", b"x")
    assert order == ["fsync", "replace", "fsync"]
    order.clear()
    write_atomically(tmp_path / "file", b"y", durable=False)
    assert order == ["replace"]


def test_only_the_owner_may_read(tmp_path):
    write_atomically(tmp_path / "file", b"x")
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600


WRITER = """
import sys
from pathlib import Path
from gossipfl.files import write_atomically
path = Path(sys.argv[1])
number = 0
while True:
    number += 1
    write_atomically(path, bytes([number % 256]) * (100_000 + number))
    if number == 1:
        print("writing", flush=True)
"""


def test_a_killed_writer_and_a_busy_reader_see_whole_files_only(tmp_path):
    path = tmp_path / "file"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE)
    try:
        assert writer.stdout.readline() == b"writing\n"
        for _ in range(200):
            content = path.read_bytes()
            assert len(content) > 100_000
            assert len(set(content)) == 1
            assert content[0] == (len(content) - 100_000) % 256
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        content = path.read_bytes()
        assert content[0] == (len(content) - 100_000) % 256
    finally:
        writer.kill()
        writer.wait()
        writer.stdout.close()
