"""Folders of text and exported chats, hostile ones too."""

import contextlib
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipfl.errors import InvalidTask
from gossipfl.tasks.words import folder
from gossipfl.tasks.words.folder import read_texts


def message(**changes):
    return json.dumps({"user": "ada", "time": 1, "text": "hello"} | changes)


def test_each_file_and_each_folder_is_a_user(tmp_path):
    (tmp_path / "bob.txt").write_text("I am Bob.", encoding="utf-8-sig")
    (tmp_path / "eve.md").write_bytes("Ève".encode("utf-16"))
    (tmp_path / "ada" / "b").mkdir(parents=True)
    (tmp_path / "ada" / "2.txt").write_text("second")
    (tmp_path / "ada" / "1.txt").write_text("first")
    (tmp_path / "ada" / "b" / "1.txt").write_text("third")
    (tmp_path / ".hidden.txt").write_text("nothing")
    (tmp_path / "link.txt").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "pipe.txt")
    found = read_texts(tmp_path)
    assert found.of_user == {"ada": ("first", "second", "third"), "bob": ("I am Bob.",), "eve": ("Ève",)}
    assert found.skipped == {"no text file by its name": 1}


def test_what_is_left_out_of_a_text_is_in_the_log(tmp_path, caplog):
    (tmp_path / "chat.jsonl").write_text(f"{message()}\n{message(text='quiet', time='yesterday')}\n")
    assert read_texts(tmp_path).of_user == {"ada": ("hello",)}
    assert caplog.messages == [f"of the texts in {tmp_path}, 1 skipped: a message without a time"]
    (tmp_path / "chat.jsonl").write_text(message())
    caplog.clear()
    read_texts(tmp_path)
    assert not caplog.messages


def test_messages_come_in_the_order_of_their_times(tmp_path):
    lines = [
        message(time="2026-03-01T08:15:00+01:00", text="one"),
        message(time="2026-03-01T07:30:00", text="three"),
        message(user="bob", time=5),
        message(time=1772349600, text="two"),  # 07:20 UTC
        message(time="2026-03-01T07:30:00", text="four"),
    ]
    (tmp_path / "chat.jsonl").write_text("\r\n".join(lines))
    found = read_texts(tmp_path)
    assert found.of_user == {"ada": ("one", "two", "three", "four"), "bob": ("hello",)}
    assert not found.skipped
    assert read_texts(tmp_path / "chat.jsonl") == found


def test_what_is_no_text_is_skipped_and_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "_LARGEST_FILE", 2**20)
    monkeypatch.setattr(folder, "_LARGEST_LINE", 1000)
    (tmp_path / "binary.txt").write_bytes(b"ab\0cd")
    (tmp_path / "latin.txt").write_bytes("Ève".encode("latin-1"))
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "huge.txt").write_bytes(b"a" * (2**20 + 1))
    (tmp_path / "picture.jpg").write_bytes(b"\xff\xd8")
    wrong = [
        "no JSON",
        "[" * 900,
        "[]",
        message(user=""),
        message(user=3),
        message(user="a" * 300),
        message(text=None),
        message(time=None),
        message(time=True),
        message(time="yesterday"),
        message(time=float("nan")),
        message(text="a" * 2000),
    ]
    (tmp_path / "chat.jsonl").write_text("\n".join(wrong))
    with pytest.raises(
        InvalidTask, match=r"no text in .*1 skipped: binary, 1 skipped: empty, 1 skipped: larger"
    ):
        read_texts(tmp_path)
    (tmp_path / "good.txt").write_text("good")
    assert read_texts(tmp_path).skipped == {
        "a line longer than 0 MiB": 1,
        "a line that is no JSON": 2,
        "a line that is no object": 1,
        "a message without a time": 4,
        "a message without a user or a text": 4,
        "binary": 1,
        "empty": 1,
        "larger than 1 MiB": 1,
        "no text file by its name": 1,
        "not in UTF-8": 1,
    }


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused_by_name(tmp_path_factory, data):
    place = tmp_path_factory.mktemp("any")
    (place / "a.jsonl").write_bytes(data)
    (place / "a.txt").write_bytes(data)
    with contextlib.suppress(InvalidTask):
        read_texts(place)


def test_a_folder_that_is_none_or_too_much_is_named(tmp_path, monkeypatch):
    with pytest.raises(InvalidTask, match="there is no folder"):
        read_texts(tmp_path / "none")
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text("some text")
    monkeypatch.setattr(folder, "_MOST_FILES", 2)
    with pytest.raises(InvalidTask, match="too much"):
        read_texts(tmp_path)
