"""Files of records: begun anew when they are large, removed when they are many or old, and summed up."""

import itertools
import json
import os

import polars
import pytest

from gossipfl.errors import HomeError
from gossipfl.peer import read_records
from gossipfl.peer.store.record_files import SUMMARY, read_summary, record_files, remove_old
from gossipfl.peer.store.records import RecordWriter
from gossipfl.settings import RecordsSettings

SMALL = RecordsSettings(file_megabytes=1e-3)
DAY = 86400.0


def write(directory, incarnation, events, settings=SMALL):
    writer = RecordWriter(directory, incarnation=incarnation, settings=settings)
    writer.append({"kind": "start", "peer": "12D3", "event": events[0] - 1, "age": 0, "settings": "{}"})
    for event in events:
        writer.append(
            {"kind": "merge", "event": event, "age": 2 * event, "step": event, "sender": f"s{event % 3}"}
        )
        writer.append({"kind": "exchange", "outcome": "ok" if event % 5 else "peer_busy"})
    writer.append({"kind": "evaluation", "event": events[-1], "accuracy": 0.5})
    return writer


def test_a_large_file_is_followed_by_one_that_begins_with_where_it_is(tmp_path):
    write(tmp_path, 7, range(1, 31)).close()
    files = record_files(tmp_path)
    assert list(files) == [(7, part) for part in range(len(files))]
    assert len(files) > 3
    lines = [[json.loads(line) for line in path.read_text().splitlines()] for path in files.values()]
    for part, (before, after) in enumerate(itertools.pairwise(lines), start=1):
        first = after[0]
        assert (first["kind"], first["part"], first["peer"], first["settings"]) == (
            "continued",
            part,
            "12D3",
            "{}",
        )
        last = [each for each in before if "age" in each][-1]
        assert (first["event"], first["age"]) == (last["event"], last["age"])
    assert all(path.stat().st_size < 1300 for path in files.values())
    merges = read_records(tmp_path).filter(polars.col("kind") == "merge")
    assert merges["event"].to_list() == list(range(1, 31))


def test_files_are_read_in_the_order_of_writing_whatever_their_names(tmp_path):
    for incarnation, events in ((1, (1, 2)), (2, range(3, 60)), (11, (60,)), (1_795_663_397_852, (61, 62))):
        write(tmp_path, incarnation, events).close()
    merges = read_records(tmp_path).filter(polars.col("kind") == "merge")
    assert merges["event"].to_list() == list(range(1, 63))


@pytest.mark.parametrize("settings", [{}, {"file_megabytes": 2e-3}])
def test_all_files_together_stay_below_what_is_kept(tmp_path, settings):
    """Where a file would be larger than all that is kept, too."""
    kept, record = 2e4, {"kind": "train", "event": 1, "age": 1, "step": 1, "loss": 0.5}
    settings = RecordsSettings(keep_megabytes=kept / 1e6, **settings)
    writer, largest = RecordWriter(tmp_path, incarnation=1, settings=settings), 0
    for _ in range(150):
        writer.append(*[record] * 10)
        writer.remove_old()  # as at a checkpoint
        largest = max(largest, sum(path.stat().st_size for path in record_files(tmp_path).values()))
    writer.close()
    assert kept / 2 < largest < kept + 1500  # but for the last records
    assert len(record_files(tmp_path)) > 1
    newest = (tmp_path / SUMMARY).read_bytes()
    assert len(newest) < kept / 4 + 1000
    told = read_summary(tmp_path)
    assert len(told) > 1
    parts = [each["part"] for each in told]
    assert parts == [*range(parts[0], min(part for _, part in record_files(tmp_path)))]
    assert parts[0] > 0


def test_the_oldest_go_and_leave_a_summary(tmp_path):
    for incarnation in (1, 2):
        write(tmp_path, incarnation, range(1 + 20 * (incarnation - 1), 1 + 20 * incarnation)).close()
    files = list(record_files(tmp_path).values())
    sizes = [path.stat().st_size for path in files]
    removed = remove_old(tmp_path, keep_bytes=sum(sizes[-2:]), keep_days=1.0)
    assert removed == [path.name for path in files[:-2]]
    assert list(record_files(tmp_path).values()) == files[-2:]
    summary = read_summary(tmp_path)
    assert [each["file"] for each in summary] == removed
    assert [each["bytes"] for each in summary] == sizes[:-2]
    left = read_records(tmp_path).filter(polars.col("kind") == "merge")
    merged = sum(count for each in summary for count in each["merges"].values())
    assert merged + len(left) == 40
    assert summary[-1]["event"][1] + 1 == left["event"][0]
    assert sum(each["exchanges"].get("peer_busy", 0) for each in summary) > 2
    assert {"event": 20, "accuracy": 0.5}.items() <= summary[
        [e["incarnation"] for e in summary].count(1) - 1
    ]["evaluation"].items()
    assert (tmp_path / SUMMARY).stat().st_mode & 0o777 == 0o600


def test_what_is_too_old_goes_and_the_newest_stays(tmp_path):
    for incarnation in (1, 2, 3):
        write(tmp_path, incarnation, (incarnation,)).close()
    for days, path in zip((9, 5, 4), record_files(tmp_path).values(), strict=True):
        os.utime(path, (1e9 - days * DAY, 1e9 - days * DAY))
    assert remove_old(tmp_path, keep_bytes=1e9, keep_days=6, now=1e9) == ["000001.jsonl"]
    assert remove_old(tmp_path, keep_bytes=1e9, keep_days=1, now=1e9) == ["000002.jsonl"]
    assert remove_old(tmp_path, keep_bytes=0, keep_days=1, now=1e9) == []
    assert [each["file"] for each in read_summary(tmp_path)] == ["000001.jsonl", "000002.jsonl"]


def test_no_files_and_no_summary_are_no_trouble(tmp_path):
    assert remove_old(tmp_path, keep_bytes=0, keep_days=1) == []
    assert read_summary(tmp_path) == []
    (tmp_path / SUMMARY).write_text('{"file": 1}\n[]\n')
    with pytest.raises(HomeError, match=r"summary\.ndjson is damaged"):
        read_summary(tmp_path)


def test_a_damaged_line_is_counted_and_the_rest_summed_up(tmp_path):
    write(tmp_path, 1, (1, 2)).close()
    with (tmp_path / "000001.jsonl").open("a") as file:
        file.write("nonsense\n[1]\n")
    write(tmp_path, 2, (3,)).close()
    remove_old(tmp_path, keep_bytes=0, keep_days=1)
    [summary] = read_summary(tmp_path)
    assert summary["kinds"] == {"start": 1, "merge": 2, "exchange": 2, "evaluation": 1, "damaged": 2}


def test_a_disk_that_takes_no_further_file_goes_on_with_this_one(tmp_path, monkeypatch):
    from gossipfl.files import AppendedFile

    opened, real = [], AppendedFile.__init__

    def full(self, path):
        opened.append(path)
        if 1 < len(opened) < 6:
            raise OSError(28, "No space left on device")
        real(self, path)

    monkeypatch.setattr(AppendedFile, "__init__", full)
    write(tmp_path, 1, range(1, 31)).close()
    assert len(opened) > 6
    assert read_records(tmp_path).filter(polars.col("kind") == "merge")["event"].to_list() == list(
        range(1, 31)
    )
