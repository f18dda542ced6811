"""A member's own table, as its settings name it, and the summary that they let it tell."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gossipfl.errors import SettingError
from gossipfl.settings import PeerSettings
from gossipfl.statistics import Summary, TableSchema, load_schema

__all__ = ["OwnTable", "with_place_of_statistics"]

STATS_FILE: Final = "stats.json"


@dataclass(frozen=True, kw_only=True)
class OwnTable:
    """The table of a peer.

    Parameters
    ----------
    file : Path
        CSV file with its rows.
    stats : Path
        Where the task expects the common statistics.
    told : collection of str
        Columns whose statistics may leave the peer.
    """

    schema: TableSchema
    file: Path
    stats: Path
    told: Collection[str]

    @classmethod
    def of(cls, settings: PeerSettings, home: Path) -> OwnTable:
        """Find the table that the options ``schema``, ``file`` and ``stats`` of a peer's task name.

        Raises
        ------
        SettingError
            They name none, or allow columns that the schema lacks.
        """
        options = settings.task.options
        lacking = [name for name in ("schema", "file") if not isinstance(options.get(name), str)]
        if lacking:
            raise SettingError(
                f"task.options: the task has no table: {' and '.join(lacking)} are not set",
                expected="a schema and a CSV file",
                remedy="Make the peer with --task table --option schema=SCHEMA.toml --option file=TABLE.csv; "
                "tasks of your own take options of the same names.",
            )
        schema = load_schema(home / options["schema"])
        columns = settings.stats.columns
        unknown = [name for name in columns if name not in schema.columns and name != "*"]
        if unknown:
            raise SettingError(
                f"stats.columns: the schema has no column {unknown[0]!r}",
                expected=f"columns among {', '.join(schema.columns)}, or '*' for all",
            )
        return cls(
            schema=schema,
            file=home / options["file"],
            stats=home / (options.get("stats") or STATS_FILE),
            told=tuple(schema.columns) if "*" in columns else tuple(columns),
        )

    def summary(self) -> Summary:
        """Read the table, and return what may be told of it."""
        from gossipfl.tasks.table_rows import read_rows, summarised  # imports torch

        return summarised(read_rows(self.file, self.schema), self.schema, told=self.told)

    def require_told(self) -> None:
        """Require that anything may be told.

        Raises
        ------
        SettingError
            The settings allow no column.
        """
        if not self.told:
            raise SettingError(
                "stats.columns: no statistics of this peer's table may leave it",
                expected="names of columns, or '*' for all of the schema",
                got="none",
                remedy="`gossipfl stats summarise --home HOME` shows what would leave; then set "
                'columns = ["*"] under [stats] in peer.toml.',
            )


def with_place_of_statistics(settings: PeerSettings, home: Path) -> PeerSettings:
    """Return a new peer's settings, where the bundled task ``table`` finds its statistics in the home.

    They may say otherwise.
    """
    if settings.task.name != "table":
        return settings
    options = {"stats": str(home.absolute() / STATS_FILE), **settings.task.options}
    return settings.model_copy(update={"task": settings.task.model_copy(update={"options": options})})
