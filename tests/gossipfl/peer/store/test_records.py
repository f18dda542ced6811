"""Records: append-only, whole lines whatever crashed, and readable as a table."""

import os
import signal
import subprocess
import sys
import threading

import polars
import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from gossipfl.errors import HomeError
from gossipfl.peer import read_records
from gossipfl.peer.store.records import RecordWriter


def test_records_come_back_in_order_with_their_start(tmp_path):
    for incarnation in (1, 2, 11):
        writer = RecordWriter(tmp_path, incarnation=incarnation)
        writer.append({"kind": "start", "event": 0}, {"kind": "merge", "event": 1, "sender": "12D3"})
        writer.append({"kind": "train", "event": 2, "loss": 0.5})
        writer.close()
    table = read_records(tmp_path)
    assert table["incarnation"].to_list() == [1] * 3 + [2] * 3 + [11] * 3
    assert table["event"].to_list() == [0, 1, 2] * 3
    assert table["sender"].to_list() == [None, "12D3", None] * 3
    assert table["loss"].to_list() == [None, None, 0.5] * 3
    assert table["time"].is_sorted()


def test_a_file_is_only_ever_appended_to(tmp_path):
    writer = RecordWriter(tmp_path, incarnation=1)
    path = tmp_path / "000001.jsonl"
    before = b""
    for event in range(20):
        writer.append({"event": event})
        now = path.read_bytes()
        assert now.startswith(before)
        assert now.endswith(b"\n")
        before = now
    writer.close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_kind_that_comes_late_has_its_columns(tmp_path):
    writer = RecordWriter(tmp_path, incarnation=1)
    writer.append(*({"kind": "train", "event": event} for event in range(500)))
    writer.append({"kind": "evaluation", "event": 500, "accuracy": 0.25})
    writer.close()
    assert read_records(tmp_path).filter(polars.col("kind") == "evaluation")["accuracy"].to_list() == [0.25]


@profile(max_examples=30, deadline=None)
@given(torn=st.integers(1, 200_000), whole=st.integers(0, 3))
def test_a_torn_last_line_is_left_out_and_cut_at_the_next_start(tmp_path_factory, torn, whole):
    directory = tmp_path_factory.mktemp("records")
    lines = b"".join(b'{"event":%d}\n' % event for event in range(whole))
    (directory / "000001.jsonl").write_bytes(lines + b"x" * torn)
    if whole:
        assert read_records(directory)["event"].to_list() == list(range(whole))
    writer = RecordWriter(directory, incarnation=2)
    assert (directory / "000001.jsonl").read_bytes() == lines
    writer.append({"event": 99})
    writer.close()
    assert read_records(directory)["event"].to_list() == [*range(whole), 99]


def test_what_json_does_not_know_is_null(tmp_path):
    """A diverged peer's records must be as readable as anybody's."""
    writer = RecordWriter(tmp_path, incarnation=1)
    writer.append({"event": 1, "loss": float("nan")}, {"event": 2, "loss": float("inf")})
    writer.append({"event": 3, "loss": -float("inf")}, {"event": 4, "loss": 0.5, "trained": True})
    writer.close()
    assert read_records(tmp_path)["loss"].to_list() == [None, None, None, 0.5]


def test_no_records_is_a_named_error(tmp_path):
    with pytest.raises(HomeError, match="no records"):
        read_records(tmp_path)


def test_a_damaged_record_is_a_named_error(tmp_path):
    writer = RecordWriter(tmp_path, incarnation=1)
    writer.append({"kind": "train", "event": 1})
    writer.close()
    [path] = tmp_path.glob("*.jsonl")
    path.write_bytes(path.read_bytes().replace(b'"event":', b'"event"'))
    with pytest.raises(HomeError, match=r"are damaged.*Restore them from a backup"):
        read_records(tmp_path)


def test_threads_never_mix_their_lines(tmp_path):
    writer = RecordWriter(tmp_path, incarnation=1)

    def write(number):
        for event in range(200):
            writer.append({"thread": number, "event": event, "text": "x" * 300})

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close()
    table = read_records(tmp_path)
    assert len(table) == 800
    for number in range(4):
        assert table.filter(polars.col("thread") == number)["event"].to_list() == list(range(200))


def test_a_closed_writer_never_writes_into_whatever_has_its_descriptor_now(tmp_path):
    """A training step that was abandoned at the end of a peer finishes later and records itself."""
    writer = RecordWriter(tmp_path, incarnation=1)
    writer.append({"event": 1})
    writer.close()
    innocent = tmp_path / "innocent"
    descriptors = [os.open(innocent, os.O_WRONLY | os.O_CREAT) for _ in range(64)]
    try:
        writer.append({"event": 2})
        writer.close()
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    assert innocent.read_bytes() == b""
    assert read_records(tmp_path)["event"].to_list() == [1]


def test_a_full_disk_leaves_whole_lines_and_a_gap(tmp_path, monkeypatch, caplog):
    writer = RecordWriter(tmp_path, incarnation=1)
    writer.append({"kind": "merge", "event": 1})
    real = os.write

    def nearly_full(descriptor, content):
        if len(content) < 10:
            raise OSError(28, "No space left on device")
        return real(descriptor, content[:5])  # the disk takes the beginning of the line, and then no more

    with monkeypatch.context() as patched:
        patched.setattr("os.write", nearly_full)
        writer.append({"kind": "merge", "event": 2})
        writer.append({"kind": "merge", "event": 3}, {"kind": "merge", "event": 4})
    writer.append({"kind": "merge", "event": 5})
    writer.append({"kind": "merge", "event": 6})
    writer.close()
    records = read_records(tmp_path)
    assert records["kind"].to_list() == ["merge", "gap", "merge", "merge"]
    assert records["event"].to_list() == [1, None, 5, 6]
    assert records["lost"].to_list() == [None, 3, None, None]
    assert caplog.text.count("free space on the disk") == 1


def test_a_directory_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / "records").touch()
    with pytest.raises(HomeError, match=r"cannot write records into.*File exists"):
        RecordWriter(tmp_path / "records", incarnation=1)
    (tmp_path / "others" / "000001.jsonl").mkdir(parents=True)
    with pytest.raises(HomeError, match=r"cannot read the records in.*directory"):
        read_records(tmp_path / "others")


def test_a_disk_that_fails_at_the_end_is_reported(tmp_path, monkeypatch, caplog):
    writer = RecordWriter(tmp_path, incarnation=1)
    writer.append({"event": 1})
    closed = []

    def fail(descriptor):
        closed.append(descriptor)
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", fail)
        writer.close()
    assert "the last records may not be on disk: Input/output error" in caplog.text
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(closed[0])


WRITER = """
import sys
from pathlib import Path
from gossipfl.peer.store.records import RecordWriter
writer = RecordWriter(Path(sys.argv[1]), incarnation=1)
event = 0
while True:
    event += 1
    writer.append({"event": event, "text": "x" * (event % 1000)})
    if event == 100:
        print("writing", flush=True)
"""


def test_a_killed_process_loses_nothing_that_was_appended(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"writing\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
    finally:
        process.kill()
        process.communicate()
    events = read_records(tmp_path)["event"].to_list()
    assert len(events) >= 100
    assert events == list(range(1, len(events) + 1))
