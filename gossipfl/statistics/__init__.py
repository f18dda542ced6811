"""Common statistics of tables that nobody shares: schemas, exact summaries of one table, and their sums."""

from gossipfl.statistics.common import MOST_MEMBERS, CommonStatistics
from gossipfl.statistics.schema import ColumnSchema, TableSchema, load_schema
from gossipfl.statistics.summary import CategorySummary, NumberSummary, Summary, merged, require_plausible

__all__ = [
    "MOST_MEMBERS",
    "CategorySummary",
    "ColumnSchema",
    "CommonStatistics",
    "NumberSummary",
    "Summary",
    "TableSchema",
    "load_schema",
    "merged",
    "require_plausible",
]
