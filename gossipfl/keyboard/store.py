"""The store of what a peer's owner types: encrypted, limited in age and size, and able to forget.

A generation of the store is a journal of sealed records, to which is only appended, and a head that says how many
records were acknowledged. To forget, what is left is written as the next generation under a fresh key, and the old
journal, head and key are overwritten and removed: what a disk keeps of them cannot be opened without the old key.
"""

from __future__ import annotations

import json
import logging
import threading
import time as clock
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gossipfl.errors import CorruptTyping, InvalidRequest
from gossipfl.files import (
    AppendedFile,
    make_directory,
    named_errors,
    overwrite_and_remove,
    remove_temporaries,
)
from gossipfl.keyboard.head import Head
from gossipfl.keyboard.saying import without_words
from gossipfl.keyboard.sealing import Key, load_key, new_key, record_length, replace_key, store_key
from gossipfl.settings.keyboard import KeyboardSettings
from topology.parsing import json_of

__all__ = ["LONGEST_TEXT", "Typed", "TypingStore"]

logger = logging.getLogger(__name__)

LONGEST_TEXT: Final = 10_000
_KIND: Final = b"typed"
_KEPT_SHARE: Final = 0.75
_DAY: Final = 86400.0


@dataclass(frozen=True, slots=True)
class Typed:
    """A message that was typed, whole or so far.

    Parameters
    ----------
    message : int
        Which one: from 0.
    time : float
        When it was begun, in seconds since 1970.
    text : str
        Never shown by ``repr``, so that no error and no log can hold it.
    """

    message: int
    time: float
    text: str = field(repr=False)


class TypingStore:
    """What was typed, in one directory, used by one process at a time: whoever holds the lock of the home.

    Its methods may be called in any thread.

    Parameters
    ----------
    directory : Path
        Made with mode 0700 if there is none.
    settings : KeyboardSettings, optional
        Limits of age and size.
    now : callable, optional
        The time in seconds since 1970.

    Attributes
    ----------
    notices : list of str
        What was found wrong when it was opened, without a word of what was typed.

    Raises
    ------
    CorruptTyping
        The key is missing or damaged, or other users can read it.
    HomeError
        The directory cannot be read or written.
    """

    def __init__(
        self,
        directory: Path,
        settings: KeyboardSettings | None = None,
        *,
        now: Callable[[], float] = clock.time,
    ) -> None:
        self._directory = directory
        self._settings = settings or KeyboardSettings()
        self._now = now
        self._lock = threading.RLock()
        self._messages: dict[int, Typed] = {}
        self._is_closed = False
        self.notices: list[str] = []
        with named_errors(f"what is typed cannot be kept in {directory}"):
            make_directory(directory)
            remove_temporaries(directory)
            self._key = self._load_or_create_key()
            self._destroy_other_generations()
            self._head = Head(self._path("head"), self._key)
            is_sound = self._read()
            self._journal = AppendedFile(self._path("journal"))
            if not is_sound:
                self._rewrite(self._messages.values())
            self.expire()

    @property
    def version(self) -> int:
        """A number that grows with every change."""
        return self._key.generation * 2**40 + self._head.records

    @property
    def nbytes(self) -> int:
        """Bytes of the journal on the disk."""
        return self._journal.size

    def texts(self) -> tuple[Typed, ...]:
        """All messages that are not empty, the earliest first."""
        with self._lock:
            kept = [each for each in self._messages.values() if each.text.strip()]
        return tuple(sorted(kept, key=lambda each: (each.time, each.message)))

    def write(self, message: int, text: str) -> None:
        """Store the text of a message as it is now; when this returns, the disk has it.

        Parameters
        ----------
        message : int
            Which message, from 0: a new number begins a new one.
        text : str
            All of the message so far. Only what has changed since the last time is written.

        Raises
        ------
        InvalidRequest
            It is no text, or too long.
        HomeError
            The disk refuses; what was stored before is kept, and the next try may succeed.
        """
        _require_message(message, text)
        with self._lock, named_errors("what was typed cannot be stored"):
            self._require_open()
            before = self._messages.get(message)
            if before is not None and before.text == text:
                return
            changed = Typed(message, self._now() if before is None else before.time, text)
            self._append(_change(before, changed))
            self._messages[message] = changed
            if self._journal.size > self._settings.megabytes * 1e6:
                self._rewrite(self._newest())

    def forget(self, is_forgotten: Callable[[Typed], bool]) -> int:
        """Forget messages, and return how many.

        The others are written anew under a fresh key, and what there was is overwritten and removed, even if no
        message is to be forgotten: words that were taken back while they were typed go, too.

        Raises
        ------
        HomeError
            The disk refuses; nothing was forgotten.
        """
        with self._lock, named_errors("what was typed cannot be forgotten"):
            self._require_open()
            kept = [each for each in self._messages.values() if not is_forgotten(each)]
            forgotten = len(self._messages) - len(kept)
            self._rewrite(kept)
            return forgotten

    def expire(self) -> None:
        """Forget what is older than the limit of age.

        Raises
        ------
        HomeError
            The disk refuses.
        """
        last = self._now() - self._settings.days * _DAY
        with self._lock:
            if any(each.time < last for each in self._messages.values()):
                self.forget(lambda each: each.time < last)

    def close(self) -> None:
        """Close the files; nothing can be stored or forgotten afterwards."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                with suppress(OSError):
                    self._journal.close()
                self._head.close()

    def _require_open(self) -> None:
        if self._is_closed:
            raise CorruptTyping("the typing store has been closed", remedy="Start the peer again.")

    def _path(self, what: str, generation: int | None = None) -> Path:
        return self._directory / f"{what}-{generation or self._key.generation}"

    def _load_or_create_key(self) -> Key:
        path = self._directory / "key"
        found = load_key(path)
        if found is not None:
            return found
        if any(self._directory.glob("journal-*")):
            raise CorruptTyping(
                f"the key {path} is missing",
                remedy=f"Delete {self._directory}: nothing in it can be read without the key.",
            )
        key = new_key(1)
        overwrite_and_remove(self._path("head", 1))
        head = Head(self._path("head", 1), key)
        head.acknowledge(0)
        head.close()
        store_key(path, key)
        return key

    def _destroy_other_generations(self) -> None:
        """Destroy what a rewriting left that was interrupted: of the next generation, or of the last one."""
        own = {self._path("head"), self._path("journal")}
        for what in ("head-*", "journal-*"):
            for path in self._directory.glob(what):
                if path not in own:
                    overwrite_and_remove(path)

    def _read(self) -> bool:
        """Read the journal; return whether all that was acknowledged is there, unchanged and in its place."""
        path, acknowledged = self._path("journal"), self._head.records
        data = path.read_bytes() if path.exists() else b""
        start = number = unreadable = 0
        while (length := record_length(data, start)) is not None:
            content = self._key.opened(data[start : start + length], kind=_KIND, number=number)
            if content is None and number >= acknowledged:
                break
            if content is None:
                unreadable += 1
            else:
                self._apply(content)
            start, number = start + length, number + 1
        missing = max(0, acknowledged - number) + unreadable
        if missing or not self._head.is_sound:
            self._note(
                f"damaged: {missing} of {acknowledged} stored pieces are missing, changed or out of place; "
                "the others are kept"
            )
            return False
        if start < len(data):
            self._note("a torn end, left by a crash before it was acknowledged, was dropped")
            with path.open("r+b") as file:
                file.truncate(start)
        self._head.records = number
        return True

    def _note(self, what: str) -> None:
        self.notices.append(f"the typing store: {what}")
        logger.warning("the typing store: %s", what)

    def _apply(self, content: bytes) -> None:
        change = json_of(content)
        message, kept = change["message"], change["kept"]
        before = self._messages.get(message)
        text = ("" if before is None else before.text[:kept]) + change["text"]
        self._messages[message] = Typed(message, change["time"], text)

    def _append(self, content: bytes) -> None:
        number, size = self._head.records, self._journal.size
        try:
            self._journal.append(self._key.sealed(content, kind=_KIND, number=number))
            self._journal.synchronise()
            self._head.acknowledge(number + 1)
        except OSError:
            self._journal.take_back(size)
            raise

    def _newest(self) -> list[Typed]:
        """The newest messages that fit well into the limit of size."""
        room = _KEPT_SHARE * self._settings.megabytes * 1e6
        kept: list[Typed] = []
        for each in reversed(self.texts()):
            room -= len(self._key.sealed(_change(None, each), kind=_KIND, number=0))
            if room < 0 and kept:
                break
            kept.append(each)
        return kept[::-1]

    def _rewrite(self, messages: Iterable[Typed]) -> None:
        """Write messages as the next generation, and destroy this one."""
        kept = {each.message: each for each in messages if each.text.strip()}
        key = new_key(self._key.generation + 1)
        paths = [self._path(what, key.generation) for what in ("journal", "head")]
        try:
            for path in paths:
                overwrite_and_remove(path)
            journal = AppendedFile(paths[0])
            head = Head(paths[1], key)
            for number, each in enumerate(kept.values()):
                journal.append(key.sealed(_change(None, each), kind=_KIND, number=number))
            journal.synchronise()
            head.acknowledge(len(kept))
            replace_key(self._directory / "key", key)
        except OSError:
            for path in paths:
                with suppress(OSError):
                    overwrite_and_remove(path)
            raise
        with suppress(OSError):
            self._journal.close()
        self._head.close()
        self._key, self._journal, self._head, self._messages = key, journal, head, kept
        self._destroy_other_generations()


def _change(before: Typed | None, now: Typed) -> bytes:
    """Content of the record that turns one text of a message into another."""
    old = "" if before is None else before.text
    kept = next(
        (place for place, (one, other) in enumerate(zip(old, now.text, strict=False)) if one != other),
        min(len(old), len(now.text)),
    )
    change = {"message": now.message, "time": now.time, "kept": kept, "text": now.text[kept:]}
    return json.dumps(change, ensure_ascii=False).encode()


def _require_message(message: int, text: str) -> None:
    if type(message) is not int or not 0 <= message < 2**53:
        raise InvalidRequest(
            "the message has no number", expected="a whole number of 0 or more", got=without_words(message)
        )
    if not isinstance(text, str) or len(text) > LONGEST_TEXT:
        raise InvalidRequest(
            "the message is no text",
            expected=f"a text of at most {LONGEST_TEXT} characters",
            got=without_words(text),
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest(
            "the message is no text",
            expected="Unicode without lone surrogates",
            got=f"one at place {error.start}",
        ) from None
