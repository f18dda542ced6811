"""The version of a home: what wrote it, and how an older one is brought up to date."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from gossipfl.errors import HomeError
from gossipfl.files import named_errors, write_atomically

if TYPE_CHECKING:
    from gossipfl.peer.store.home import Home

__all__ = ["VERSION", "Facts", "bring_up_to_date", "read_facts", "said_of_restoring", "write_facts"]

#: 1: starts are counted from 1, and there is no file of facts. 2: starts are numbered by the clock.
VERSION: Final = 2

logger = logging.getLogger(__name__)

Facts = Mapping[str, Any]


def read_facts(home: Home) -> Facts:
    """Read what a home says of itself: ``version``, and ``restored`` if it comes from a backup.

    Raises
    ------
    HomeError
        If the file is damaged or cannot be read, or a later version of gossipfl wrote the home.
    """
    path = home.facts
    try:
        with named_errors(f"{path} cannot be read"):
            content = path.read_bytes() if path.exists() else b'{"version": 1}'
        facts = json.loads(content)
        version = facts["version"]
    except (ValueError, KeyError, TypeError) as error:
        raise HomeError(
            f"{path} is damaged",
            got=f"{type(error).__name__}: {error}",
            remedy=f'Restore it from a backup, or write {{"version": {VERSION}}} into it.',
        ) from error
    if type(version) is not int or not 1 <= version <= VERSION:
        raise HomeError(
            f"the home {home.directory} is of another version",
            expected=f"1 to {VERSION}",
            got=repr(version),
            remedy="Upgrade gossipfl to the version that wrote it.",
        )
    return dict(facts)


def write_facts(home: Home, facts: Facts) -> None:
    """Replace what a home says of itself; `OSError` if the disk refuses."""
    write_atomically(home.facts, json.dumps(dict(facts), indent=1).encode() + b"\n")


def bring_up_to_date(home: Home) -> Facts:
    """Bring a home, locked by this process, to the present version, step by step; give what it says of itself.

    Raises
    ------
    HomeError
        As `read_facts`, or if it cannot be written.
    """
    facts = read_facts(home)
    while facts["version"] < VERSION:
        with named_errors(f"cannot bring the home {home.directory} up to date"):
            facts = _STEPS[facts["version"]](home, facts)
            write_facts(home, facts)
    return facts


def said_of_restoring(home: Home, facts: Facts) -> str | None:
    """Say, in the log too, that a home comes from a backup, once; None if it does not, or that was said.

    Raises
    ------
    HomeError
        If the home cannot be written.
    """
    if "restored" not in facts:
        return None
    made = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(facts["restored"]["made"]))
    text = f"the home was restored from a backup of {made}; what was learned since then is gone"
    logger.warning("%s", text)
    with named_errors(f"cannot write into the home {home.directory}"):
        write_facts(home, {key: each for key, each in facts.items() if key != "restored"})
    return text


def _number_by_the_clock(_: Home, facts: Facts) -> Facts:
    """The next start is above all counted ones, and so are all after it; files of records keep their names."""
    return {**facts, "version": 2}


#: By version, what makes the next one of it; running a step again, after a crash in it, must do no harm.
_STEPS: Mapping[int, Callable[[Home, Facts], Facts]] = {1: _number_by_the_clock}
