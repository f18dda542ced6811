"""A device's keyboard: what is typed as data to train on, as a personal model, and as suggestions."""

from __future__ import annotations

import hashlib
import inspect
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

import numpy as np
from torch import Tensor

from gossipfl.errors import InvalidTask, SettingError
from gossipfl.keyboard.earlier import TYPED, earlier_texts
from gossipfl.keyboard.offering import words_of
from gossipfl.keyboard.personal import Adaptation, Mixture, adaptation_to, chosen
from gossipfl.keyboard.shared_words import SharedWords
from gossipfl.keyboard.store import Typed, TypingStore
from gossipfl.keyboard.suggesting import Suggester
from gossipfl.tasks import Dataset, Task
from gossipfl.tasks.words.corpora import CORPORA
from gossipfl.tasks.words.models import SIZES
from gossipfl.tasks.words.next_word import dataset_of, find_vocabulary, next_word
from gossipfl.tasks.words.normalise import lowered, sentences
from gossipfl.tasks.words.samples import IGNORED, Windows, windows_of_users
from gossipfl.tasks.words.vocabulary import PAD

__all__ = ["TYPED", "Keyboard", "Today"]

_REFRESH_SECONDS: Final = 10.0
_MOST_TRAINED: Final = 2**20  # characters, the newest, of own text
_MOST_REMEMBERED: Final = 2**17
_MOST_NEW_WORDS: Final = 50
_REST: Final = 20.0  # times as long as fitting adapters took


@dataclass(frozen=True, slots=True, kw_only=True)
class Today:
    """What was learned of its owner today, for the owner alone.

    Parameters
    ----------
    words : int
        How many were typed.
    new_words : tuple of str
        Those that the vocabulary lacks and that were not typed before, the latest first.
    mixture : Mixture
        How much the owner's words weigh in suggestions.
    """

    words: int
    new_words: tuple[str, ...] = field(repr=False)
    mixture: Mixture


class Keyboard:
    """What a device does for its owner's keyboard.

    Parameters
    ----------
    store : TypingStore
    task : Task
        `gossipfl.tasks.words.next_word.next_word`, made with these options.
    options : mapping
        Of the task. With ``text="typed"`` there is no other text than what is typed; any other text of one user
        comes before it.
    repeats : int
        How often three words in a row are trained on at most, for the model that is shared; 0 for the limit of the
        options.

    Raises
    ------
    SettingError
        The options name the texts of many, or a vocabulary of the owner's words.
    """

    def __init__(
        self, store: TypingStore, task: Task, options: Mapping[str, Any], *, repeats: int = 0
    ) -> None:
        self._store = store
        bound = inspect.signature(next_word).bind(**options)
        bound.apply_defaults()
        self._options = options = bound.arguments
        if options["text"] in CORPORA and options["user"] is None:
            raise SettingError(
                "a keyboard is one user's",
                got=f"the texts of all users of {options['text']}",
                remedy=f"Set task.options.text to {TYPED!r}, or task.options.user to a name or a place.",
            )
        if options["vocabulary"] == "text":
            raise SettingError(
                "a keyboard's vocabulary leaves the device: with every export, and as a part of the task's name",
                got="vocabulary = 'text', the words of its owner's text",
                remedy="Set task.options.vocabulary to a language such as 'en', or a file that all peers have.",
            )
        self._repeats = repeats or options["repeats"] or None
        size = options["words"] or SIZES[options["size"]].words
        self.vocabulary = find_vocabulary(options["vocabulary"], size, options["text"])
        self._plain_task = task
        self._secret = secrets.token_bytes(16)
        self._before: tuple[str, ...] | None = None
        self._dataset: tuple[int, Dataset] | None = None
        self._renewed_at: tuple[int, object] | None = None
        self._today: tuple[object, int, tuple[str, ...]] | None = None
        self._renewing = threading.Lock()
        self._adaptation: Adaptation | None = None
        self._adapts_from = 0.0
        self._shared = SharedWords(task, self.vocabulary, length=options["length"])
        self._suggester = Suggester(self.vocabulary)

    @property
    def task(self) -> Task:
        """The task, whose data are the owner's: they grow while a peer runs."""
        return replace(self._plain_task, data=self.dataset, refresh_seconds=_REFRESH_SECONDS)

    @property
    def notices(self) -> Sequence[str]:
        """What was found wrong with the store when it was opened."""
        return self._store.notices

    @property
    def mixture(self) -> Mixture:
        """How the owner's words are mixed into suggestions at present."""
        return self._suggester.mixture

    @property
    def version(self) -> int:
        """A number that grows with every change of what is stored."""
        return self._store.version

    def size(self) -> dict[str, int]:
        """How much is stored: ``messages`` and ``bytes``."""
        return {"messages": len(self._store.texts()), "bytes": self._store.nbytes}

    def dataset(self) -> Dataset:
        """The owner's samples, split in the order of time; without any text, one in which nothing counts."""
        version = self._store.version
        if self._dataset is None or self._dataset[0] != version:
            self._dataset = version, self._read()
        return self._dataset[1]

    def has_samples(self) -> bool:
        """Whether there is anything to train on."""
        return _counts_any(self.dataset().train_targets)

    def write(self, message: int, text: str) -> None:
        """Store a message as it is now; see `TypingStore.write`."""
        self._store.write(message, text)

    def forget(self, is_forgotten: Callable[[Typed], bool]) -> int:
        """Forget messages, and everything that was learned of them on this device but for the shared model.

        Returns
        -------
        int
            How many messages were forgotten. Until `renew` is called, the owner's words have no part in
            suggestions.
        """
        forgotten = self._store.forget(is_forgotten)
        with self._renewing:
            self._dataset = self._renewed_at = self._today = self._adaptation = None
            self._adapts_from = 0.0
            self._suggester = Suggester(self.vocabulary)
        return forgotten

    def expire(self) -> None:
        """Forget what is too old."""
        self._store.expire()

    def suggest(self, text: str, row: Tensor, version: object) -> list[str]:
        """Suggest up to three words for what stands before the cursor.

        Parameters
        ----------
        text : str
        row : Tensor
            The peer's model, ``[D]``.
        version : object
            Differs when the row does.
        """
        self._shared.load(row, version)
        return self._suggester.suggest(text, self._shared)

    def renew(self, row: Tensor, version: object, *, may_adapt: bool = True) -> None:
        """Make the personal model anew from what is in the store now, beside this model; in any thread.

        Nothing is done if neither has changed. Adapters, which take longest, are fitted again once twenty times as
        long has passed as it took last; between, they are used as they are.

        Parameters
        ----------
        row : Tensor
            The peer's model, ``[D]``.
        version : object
            Differs when the row does.
        may_adapt : bool
            Whether the device may train now.
        """
        with self._renewing:
            now = self._store.version, version
            if now == self._renewed_at:
                return
            said = _sentences((*self._earlier(), *self._typed()), _MOST_REMEMBERED)
            shared = SharedWords(self._plain_task, self.vocabulary, length=self._options["length"])
            shared.load(row, version)
            adaptation, adapts_from = self._adaptation, self._adapts_from
            began = time.monotonic()
            if may_adapt and began >= adapts_from:
                adaptation = adaptation_to(shared, said)
                adapts_from = began + _REST * (time.monotonic() - began)
            mixture = chosen(shared, said, adaptation)
            adapter = adaptation.whole if adaptation is not None and mixture.adapted else None
            made = Suggester(self.vocabulary, said, mixture, adapter).prepare()
            if self._store.version // 2**40 == now[0] // 2**40:  # nothing was forgotten meanwhile
                self._suggester, self._renewed_at = made, now
                self._adaptation, self._adapts_from = adaptation, adapts_from

    def today(self, now: float | None = None) -> Today:
        """Return what was learned today."""
        day = _day(time.time() if now is None else now)
        at = self._store.version, day
        if self._today is None or self._today[0] != at:
            self._today = at, *self._typed_on(day)
        return Today(words=self._today[1], new_words=self._today[2], mixture=self.mixture)

    def _typed_on(self, day: object) -> tuple[int, tuple[str, ...]]:
        """How many words were typed on a day, and which of them were new."""
        typed = self._store.texts()
        known = self.vocabulary.numbers
        before = {word for each in typed if _day(each.time) != day for word in words_of(each.text)}
        today = [word for each in typed if _day(each.time) == day for word in words_of(each.text)]
        new = Counter(word for word in reversed(today) if word not in before and lowered(word) not in known)
        return len(today), tuple(new)[:_MOST_NEW_WORDS]

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    def _earlier(self) -> tuple[str, ...]:
        """The owner's text that comes before what is typed here."""
        if self._before is None:
            self._before = earlier_texts(self._options)
        return self._before

    def _typed(self) -> tuple[str, ...]:
        return tuple(each.text for each in self._store.texts())

    def _read(self) -> Dataset:
        options = self._options
        texts = _newest((*self._earlier(), *self._typed()), _MOST_TRAINED)
        try:
            [(past, later)] = windows_of_users(
                {"": texts}, self.vocabulary, length=options["length"], tested=options["tested"]
            ).values()
            past = past.last(options["most"] or None).without_repeats(self._repeats)
            later = later.first(options["most_tested"] or None)
        except InvalidTask:  # too little so far
            nothing = np.full((1, options["length"]), PAD, dtype=np.int64)
            past = later = Windows(nothing, np.full_like(nothing, IGNORED))
        data = dataset_of({"": (past, later)})
        own = {name: getattr(data, name) for name in data.__dataclass_fields__}
        return _OwnDataset(**own, secret=self._secret)


@dataclass(frozen=True, kw_only=True)
class _OwnDataset(Dataset):
    """Samples whose fingerprint tells nothing: records keep it, and of little text it could be guessed."""

    secret: bytes = field(repr=False)

    @property
    def is_measurable(self) -> bool:
        return _counts_any(self.test_targets)

    def fingerprint(self, samples: int | None = None) -> str:
        plain = super().fingerprint(samples)
        return hashlib.blake2b(plain.encode(), key=self.secret, digest_size=16).hexdigest()


def _counts_any(targets: Any) -> bool:  # noqa: ANN401 - a tree
    return bool((targets["following"] != IGNORED).any())


def _newest(texts: Sequence[str], most: int) -> tuple[str, ...]:
    """The last texts, of at most so many characters."""
    kept: list[str] = []
    for text in reversed(texts):
        most -= len(text)
        if most < 0:
            break
        kept.append(text)
    return tuple(kept[::-1])


def _sentences(texts: Sequence[str], most: int) -> list[list[str]]:
    return [sentence for text in _newest(texts, most) for sentence in sentences(text)]


def _day(moment: float) -> object:
    return datetime.fromtimestamp(moment).astimezone().date()
