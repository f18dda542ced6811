"""Versions of a home, and migration of older ones."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from gossipfl.errors import HomeError
from gossipfl.files import named_errors, write_atomically
from gossipfl.moments import moment
from topology.parsing import json_of

if TYPE_CHECKING:
    from gossipfl.peer.store.home import Home

__all__ = ["VERSION", "Facts", "bring_up_to_date", "read_facts", "said_of_restoring", "write_facts"]

#: 1: starts are counted from 1, and there is no file of facts. 2: starts are numbered by the clock.
VERSION: Final = 2

logger = logging.getLogger(__name__)

Facts = Mapping[str, Any]


def read_facts(home: Home) -> Facts:
    """Read a home's facts: ``version``, and ``restored`` if it comes from a backup.

    Raises
    ------
    HomeError
        The file is damaged or cannot be read, or a later version of gossipfl wrote the home.
    """
    path = home.facts
    try:
        with named_errors(f"{path} cannot be read"):
            content = path.read_bytes() if path.exists() else b'{"version": 1}'
        facts = json_of(content)
        version = facts["version"]
    except (ValueError, OverflowError, KeyError, TypeError) as error:
        raise HomeError(
            f"{path} is damaged",
            got=f"{type(error).__name__}: {error}",
            remedy=f'Restore it from a backup, or write {{"version": {VERSION}}} into it.',
        ) from error
    if type(version) is not int or not 1 <= version <= VERSION:
        raise HomeError(
            f"the home {home.directory} has another version",
            expected=f"1 to {VERSION}",
            got=repr(version),
            remedy="Upgrade gossipfl to the version that wrote it.",
        )
    return dict(facts)


def write_facts(home: Home, facts: Facts) -> None:
    """Replace a home's facts; raises `OSError` if the disk fails."""
    write_atomically(home.facts, json.dumps(dict(facts), indent=1).encode() + b"\n")


def bring_up_to_date(home: Home) -> Facts:
    """Migrate a home, locked by this process, to the current version, and return its facts.

    Raises
    ------
    HomeError
        As in `read_facts`, or it cannot be written.
    """
    facts = read_facts(home)
    while facts["version"] < VERSION:
        with named_errors(f"cannot bring the home {home.directory} up to date"):
            facts = _STEPS[facts["version"]](home, facts)
            write_facts(home, facts)
    return facts


def said_of_restoring(home: Home, facts: Facts) -> str | None:
    """Return a warning, logged once, that a home was restored from a backup; None if not, or already logged.

    Raises
    ------
    HomeError
        The home cannot be written.
    """
    if "restored" not in facts:
        return None
    made = moment(facts["restored"]["made"])
    text = f"the home was restored from a backup of {made}; everything learned since then is lost"
    logger.warning("%s", text)
    with named_errors(f"cannot write into the home {home.directory}"):
        write_facts(home, {key: each for key, each in facts.items() if key != "restored"})
    return text


def _number_by_the_clock(_: Home, facts: Facts) -> Facts:
    """Migrate to numbering by the clock, which exceeds all counted numbers; files of records keep their names."""
    return {**facts, "version": 2}


#: Migrations by the version they start from; each must be safe to repeat after a crash.
_STEPS: Mapping[int, Callable[[Home, Facts], Facts]] = {1: _number_by_the_clock}
