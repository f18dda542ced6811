"""Text of a keyboard's owner that comes before what is typed: a user's of a folder, a file or a corpus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gossipfl.errors import InvalidTask
from gossipfl.tasks.words.next_word import find_texts

__all__ = ["TYPED", "earlier_texts"]

TYPED: Final = "typed"
"""The option ``text`` of a task whose text is what is typed, and nothing else."""


def earlier_texts(options: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the owner's texts that the options of a task name, the earliest first; none if all of it is typed.

    Parameters
    ----------
    options : mapping
        ``text`` and ``user`` of `gossipfl.tasks.words.next_word.next_word`. Without a user, all of a folder is the
        owner's.

    Raises
    ------
    InvalidTask
        There is no such text or user.
    """
    text, user = options["text"], options.get("user")
    if text == TYPED:
        return ()
    of_user = find_texts(text).of_user
    by_size = sorted(of_user, key=lambda name: -sum(map(len, of_user[name])))
    if isinstance(user, int) and 0 <= user < len(by_size):
        user = by_size[user]
    if user is not None and user not in of_user:
        raise InvalidTask(f"there is no user {user!r}", expected=f"one of {len(of_user)}")
    names = sorted(of_user) if user is None else [user]
    return tuple(said for name in names for said in of_user[name])
