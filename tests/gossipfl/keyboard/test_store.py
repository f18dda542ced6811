"""The typing store: sealed, crash-safe, limited, and able to forget."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipfl.errors import CorruptTyping, HomeError, InvalidRequest
from gossipfl.keyboard.sealing import record_length
from gossipfl.keyboard.store import LONGEST_TEXT, TypingStore
from gossipfl.settings import KeyboardSettings
from tests.gossipfl.peer.test_full_disk import small_disk

CANARY = "xylophonequokka"


def texts(store):
    return [each.text for each in store.texts()]


def reopened(directory, **options):
    store = TypingStore(directory, **options)
    store.close()
    return texts(store), store.notices


def file_of(directory, what):
    [path] = directory.glob(f"{what}-*")
    return path


def everything(directory):
    return b"".join(path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file())


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "typing"


def filled(directory, *words):
    store = TypingStore(directory)
    for number, word in enumerate(words):
        store.write(number, word)
    store.close()
    return store


def test_what_was_typed_is_there_after_a_start_and_not_in_the_clear(directory):
    store = TypingStore(directory)
    text = ""
    for word in ("my ", f"{CANARY} ", "Ünïcode ", "🙂"):
        text += word
        store.write(7, text)
    store.write(8, "second")
    store.close()
    assert reopened(directory) == ([text, "second"], [])
    assert CANARY.encode() not in everything(directory)
    assert CANARY not in repr(store.texts())
    modes = {oct(path.stat().st_mode & 0o777) for path in directory.iterdir()}
    assert (modes, oct(directory.stat().st_mode & 0o777)) == ({"0o600"}, "0o700")


def test_only_what_changed_is_written_and_words_taken_back_are_gone(directory):
    store = TypingStore(directory)
    store.write(0, "a" * 5000)
    size = store.nbytes
    store.write(0, "a" * 5000)
    assert store.nbytes == size
    store.write(0, "a" * 5000 + "b")
    assert store.nbytes - size < 300
    store.write(0, "aab")
    assert texts(store) == ["aab"]
    store.write(0, "")
    assert texts(store) == []


def test_sizes_on_the_disk_do_not_tell_how_long_a_word_is(directory):
    sizes = set()
    store = TypingStore(directory)
    for number, word in enumerate(("a", "bb", "ccccccccc")):
        before = store.nbytes
        store.write(number, word)
        sizes.add(store.nbytes - before)
    assert len(sizes) <= 2


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.text(st.characters(exclude_categories=["Cs"]), max_size=12)),
        max_size=20,
    )
)
@settings(max_examples=25, deadline=None)
def test_any_sequence_of_edits_is_read_back(tmp_path_factory, edits):
    directory = tmp_path_factory.mktemp("any") / "typing"
    times = iter(range(1_000_000))
    store = TypingStore(directory, now=lambda: float(next(times)))
    expected = {}
    for message, text in edits:
        store.write(message, text)
        expected[message] = text
    store.close()
    wanted = sorted(text for text in expected.values() if text.strip())
    found, notices = reopened(directory, now=lambda: 0.0)
    assert (sorted(found), notices) == (wanted, [])


@pytest.mark.parametrize("cut", range(1, 90, 8))
def test_a_torn_end_is_dropped_and_said(directory, cut):
    """A crash while the third record was written, before it was acknowledged."""
    store = TypingStore(directory)
    store.write(0, "one")
    store.write(1, "two")
    head = file_of(directory, "head").read_bytes()
    store.write(2, "three")
    store.close()
    journal = file_of(directory, "journal")
    journal.write_bytes(journal.read_bytes()[:-cut])
    file_of(directory, "head").write_bytes(head)
    found, [notice] = reopened(directory)
    assert found == ["one", "two"]
    assert "torn end" in notice
    assert reopened(directory) == (["one", "two"], [])


def test_a_record_that_is_whole_but_was_not_acknowledged_is_kept(directory):
    store = TypingStore(directory)
    store.write(0, "one")
    head = file_of(directory, "head").read_bytes()
    store.write(1, "two")
    store.close()
    file_of(directory, "head").write_bytes(head)
    assert reopened(directory) == (["one", "two"], [])


def test_a_torn_write_of_the_head_loses_nothing(directory):
    filled(directory, "one", "two", "three")
    head = file_of(directory, "head")
    slot = len(head.read_bytes()) // 2
    data = bytearray(head.read_bytes())
    data[slot : slot + 40] = os.urandom(40)  # that of the third acknowledgement
    head.write_bytes(data)
    assert reopened(directory) == (["one", "two", "three"], [])


def records(data):
    start, found = 0, []
    while (length := record_length(data, start)) is not None:
        found.append(data[start : start + length])
        start += length
    return found


@pytest.mark.parametrize(
    ("tamper", "left"),
    [
        (lambda r: [r[1], r[0], r[2]], ["three"]),  # reordered
        (lambda r: r[:2], ["one", "two"]),  # truncated
        (lambda r: [r[0], r[0], r[2]], ["one", "three"]),  # replayed
        (lambda r: [r[0], r[1][:-1] + bytes([r[1][-1] ^ 1]), r[2]], ["one", "three"]),  # changed
        (lambda r: [], []),  # removed
    ],
)
def test_records_cannot_be_moved_removed_repeated_or_changed_unseen(directory, tamper, left):
    filled(directory, "one", "two", "three")
    journal = file_of(directory, "journal")
    journal.write_bytes(b"".join(tamper(records(journal.read_bytes()))))
    found, [notice] = reopened(directory)
    assert found == left
    assert "damaged" in notice
    assert "of 3 stored pieces" in notice
    assert not any(word in notice for word in ("one", "two ", "three"))
    assert reopened(directory) == (left, [])


def test_records_of_another_generation_do_not_open(directory):
    filled(directory, "one", "two")
    old = file_of(directory, "journal").read_bytes()
    store = TypingStore(directory)
    store.forget(lambda each: each.text == "two")
    store.close()
    file_of(directory, "journal").write_bytes(old)
    found, [notice] = reopened(directory)
    assert (found, "damaged" in notice) == ([], True)


def test_a_head_that_was_changed_or_removed_is_seen(directory):
    filled(directory, "one", "two")
    file_of(directory, "head").write_bytes(bytes(400))
    found, [notice] = reopened(directory)
    assert (found, "damaged" in notice) == (["one", "two"], True)
    file_of(directory, "head").unlink()
    assert "damaged" in reopened(directory)[1][0]


def test_what_is_forgotten_is_overwritten_under_another_key(directory):
    times = iter([86400.0 * 10, 86400.0 * 20, 86400.0 * 20, 86400.0 * 20])
    store = TypingStore(directory, now=lambda: next(times))
    store.write(0, f"the {CANARY} sleeps")
    store.write(1, "kept")
    key, journal = (directory / "key").read_bytes(), file_of(directory, "journal")
    with journal.open("rb") as old, (directory / "key").open("rb") as old_key:
        assert store.forget(lambda each: CANARY in each.text) == 1
        assert not old.read().strip(b"\0")
        assert not old_key.read().strip(b"\0")
    assert (directory / "key").read_bytes() != key
    assert texts(store) == ["kept"]
    assert store.forget(lambda _: True) == 1
    store.write(5, "anew")
    assert texts(store) == ["anew"]
    store.close()


@pytest.mark.parametrize("before_the_key", [True, False])
def test_forgetting_that_was_interrupted_is_undone_or_done(directory, monkeypatch, before_the_key):
    store = filled(directory, "one", "two")
    store = TypingStore(directory)

    class Killed(BaseException):
        pass

    def killed(*_):
        raise Killed

    where = "replace_key" if before_the_key else "TypingStore._destroy_other_generations"
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(f"gossipfl.keyboard.store.{where}", killed)
        store.forget(lambda each: each.text == "one")
    assert len(list(directory.glob("journal-*"))) == 2
    assert reopened(directory) == (["one", "two"] if before_the_key else ["two"], [])
    assert len(list(directory.iterdir())) == 3


def test_what_is_too_old_goes_when_the_store_is_opened_and_later(directory):
    now = [0.0]
    limits = KeyboardSettings(days=30)
    store = TypingStore(directory, limits, now=lambda: now[0])
    store.write(0, "old")
    now[0] = 86400.0 * 20
    store.write(1, "newer")
    store.close()
    now[0] = 86400.0 * 31
    store = TypingStore(directory, limits, now=lambda: now[0])
    assert texts(store) == ["newer"]
    now[0] = 86400.0 * 51
    store.expire()
    assert texts(store) == []
    store.close()


def test_beyond_the_limit_of_size_the_oldest_go(directory):
    limits = KeyboardSettings(megabytes=0.02)
    store = TypingStore(directory, limits)
    for number in range(60):
        store.write(number, f"{number} " + "x" * 600)
        assert store.nbytes <= 20_000 + 800
    kept = [int(each.split()[0]) for each in texts(store)]
    assert kept == list(range(kept[0], 60))
    assert 15 < len(kept) < 60
    store.close()
    assert len(reopened(directory)[0]) == len(kept)


def test_keys_that_others_can_read_are_missing_or_damaged_are_refused(directory):
    filled(directory, "one")
    key = directory / "key"
    content = key.read_bytes()
    key.chmod(0o644)
    with pytest.raises(CorruptTyping, match="expected mode 600; got 644"):
        TypingStore(directory)
    key.chmod(0o600)
    key.write_bytes(content[:-1])
    with pytest.raises(CorruptTyping, match="is damaged"):
        TypingStore(directory)
    key.unlink()
    with pytest.raises(CorruptTyping, match="is missing"):
        TypingStore(directory)
    key.write_bytes(content)
    key.chmod(0o600)
    assert reopened(directory) == (["one"], [])


@pytest.mark.parametrize(
    ("message", "text"),
    [(-1, "a"), (1.5, "a"), (True, "a"), (2**60, "a"), (0, 5), (0, "a" * (LONGEST_TEXT + 1)), (0, "\ud800")],
)
def test_what_is_no_message_is_refused_without_being_named(directory, message, text):
    store = TypingStore(directory)
    with pytest.raises(InvalidRequest) as caught:
        store.write(message, text)
    assert "aa" not in str(caught.value)
    store.close()


def test_a_full_disk_is_a_named_error_and_typing_goes_on(tmp_path):
    with small_disk(tmp_path / "disk", kilobytes=64):
        store = TypingStore(tmp_path / "disk" / "typing")
        store.write(0, "before")
        ballast = tmp_path / "disk" / "ballast"
        with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
            while True:
                file.write(bytes(4096))
        with pytest.raises(HomeError, match=r"cannot be stored.*Make room on the disk") as caught:
            for number in range(1, 99):  # the last block of the journal has room for some
                store.write(number, f"{CANARY} {number}" * 20)
        assert CANARY not in str(caught.value)
        stored = len(texts(store))
        assert number == stored
        with pytest.raises(HomeError, match="cannot be forgotten"):
            store.forget(lambda each: each.text == "before")
        assert len(texts(store)) == stored
        ballast.unlink()
        store.write(999, "after")
        store.close()
        found, notices = reopened(tmp_path / "disk" / "typing")
        assert (len(found), found[-1], notices) == (stored + 1, "after", [])


def test_a_word_that_was_written_but_not_acknowledged_is_taken_back(directory, monkeypatch):
    """The disk refuses to write the count: the journal must not keep what its next record would repeat."""
    store = TypingStore(directory)
    store.write(0, "one")

    def refuse(*_):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch, pytest.raises(HomeError, match="cannot be stored"):
        patch.setattr("gossipfl.keyboard.head.os.pwrite", refuse)
        store.write(1, "two")
    assert texts(store) == ["one"]
    store.write(2, "three")
    store.close()
    assert reopened(directory) == (["one", "three"], [])


TYPIST = """
import sys
from pathlib import Path
from gossipfl.keyboard.store import TypingStore
store = TypingStore(Path(sys.argv[1]))
print("ready", flush=True)
text = "".join(each.text for each in store.texts() if each.message == 0)
for number in range(len(text.split()), 10**6):
    text += f"w{number} "
    store.write(0, text[-9000:])
    print(number, flush=True)
"""


def test_killed_in_the_middle_of_typing_no_acknowledged_word_is_lost(directory):
    for kill_after in (3, 10, 40):
        typist = subprocess.Popen([sys.executable, "-c", TYPIST, str(directory)], stdout=subprocess.PIPE)
        assert typist.stdout.readline() == b"ready\n"
        for _ in range(kill_after):
            typist.stdout.readline()
        typist.send_signal(signal.SIGKILL)
        acknowledged = [int(line) for line in typist.stdout.read().split(b"\n")[:-1]]
        typist.wait()
        typist.stdout.close()
        (text,), notices = reopened(directory)
        words = [int(word[1:]) for word in text.split()]
        assert words == list(range(len(words)))
        assert not acknowledged or len(words) > acknowledged[-1]
        assert all("torn end" in notice for notice in notices)
    assert len(words) >= 50


def test_two_threads_may_write_and_forget(directory):
    import threading

    store = TypingStore(directory)

    def write(first):
        for number in range(20):
            store.write(first + number, f"text {first + number}")

    threads = [threading.Thread(target=write, args=(first,)) for first in (0, 100)]
    for each in threads:
        each.start()
    for _ in range(5):
        store.forget(lambda each: False)
    for each in threads:
        each.join()
    store.close()
    assert len(reopened(directory)[0]) == 40


def test_a_closed_store_says_so(directory):
    store = filled(directory, "one")
    with pytest.raises(CorruptTyping, match="closed"):
        store.write(1, "two")


def test_versions_grow_with_every_change(directory):
    store = TypingStore(directory)
    versions = [store.version]
    store.write(0, "one")
    versions.append(store.version)
    store.forget(lambda _: True)
    versions.append(store.version)
    store.close()
    assert versions == sorted(set(versions))
    assert json.loads(json.dumps(versions)) == versions
