"""Settings that may change while a peer runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gossipfl.errors import SettingError
from gossipfl.settings import PeerSettings, PolicySettings

__all__ = ["changes_between", "require_reloadable", "with_changes"]

_ALWAYS: Final = frozenset(
    {
        "network.allow",
        "network.download_mbits",
        "network.upload_mbits",
        "checkpoint.period",
        "evaluation.period",
        "log.level",
        "log.format",
        *(f"policy.{key}" for key in PolicySettings.model_fields),
    }
)
_IN_GOSSIP: Final = frozenset(
    {
        "network.bootstrap",
        "exchange.accept_pushes",
        "exchange.concurrent",
        "exchange.jitter",
        "exchange.period",
    }
)


def changes_between(old: PeerSettings, new: PeerSettings) -> dict[str, tuple[Any, Any]]:
    """Return the settings that differ, by dotted key, with the old and the new value."""
    before, after = _flat(old), _flat(new)
    return {
        key: (before.get(key), after.get(key))
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key)
    }


def require_reloadable(changes: Mapping[str, object], *, in_rounds: bool) -> None:
    """Require that all changes may be made while a peer runs.

    Raises
    ------
    SettingError
        Some may not; the message names them.
    """
    may = _ALWAYS if in_rounds else _ALWAYS | _IN_GOSSIP
    fixed = [key for key in changes if key not in may]
    if fixed:
        raise SettingError(
            f"{', '.join(fixed)}: cannot change while the peer runs; nothing was changed",
            expected=f"changes of {', '.join(sorted(may))}",
            remedy="Restart the peer for the others.",
        )


def with_changes(settings: PeerSettings, new: PeerSettings, changes: Mapping[str, object]) -> PeerSettings:
    """Return settings with these keys as in others."""
    for key in changes:
        table, _, name = key.partition(".")
        value = getattr(getattr(new, table), name)
        changed = getattr(settings, table).model_copy(update={name: value})
        settings = settings.model_copy(update={table: changed})
    return settings


def _flat(settings: PeerSettings) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for table, values in settings.model_dump(mode="json").items():
        if isinstance(values, dict):
            flat |= {f"{table}.{key}": value for key, value in values.items()}
        else:
            flat[table] = values
    return flat
