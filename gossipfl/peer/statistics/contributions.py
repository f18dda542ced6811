"""Masked contributions: what each member's models did for the others, without showing who was helped by whom.

The measured merges of a member are the rows of a table that it keeps: in each, a sender, and the effect of its
model in the sender's column. Sums over all members are masked like those of any table. A sender whose models fewer
than 3 others measured is left out by all of them, since its sum would show single ones.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gossipfl.errors import SettingError, SummandsExposed
from gossipfl.peer.statistics.masked import MaskedSummaries
from gossipfl.secure import FEWEST_SUMMANDS
from gossipfl.settings.addresses import peer_id_of
from gossipfl.statistics import CategorySummary, CommonStatistics, NumberSummary, Summary, TableSchema
from gossipfl.statistics.schema import MOST_CATEGORIES
from gossipfl.statistics.units import from_units, to_units
from gossipfl.statistics.vectors import Names, vector_of

__all__ = ["Contribution", "MaskedContributions", "contributions_in", "merges_schema", "merges_summary"]

SENDER: Final = "sender"
_FEWEST_MERGES: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Contribution:
    """What one member's models did for the others.

    Parameters
    ----------
    merges : int
        Measured merges of its models; 0 if fewer than 3 others measured any, and then all else is 0.
    total : float
        Sum of the effects: losses before less losses after.
    mean : float
        Of one merge.
    deviation : float
        Standard deviation of the effects of single merges.
    """

    merges: int
    total: float
    mean: float
    deviation: float

    @property
    def standard_error(self) -> float:
        """Of the mean, as if effects were independent; 0 of none."""
        return self.deviation / self.merges**0.5 if self.merges else 0.0


def merges_schema(members: Collection[str]) -> TableSchema:
    """Return the schema of tables of measured merges: the sender, and a column of effects for each member.

    Parameters
    ----------
    members : collection of str
        Peer ids.

    Raises
    ------
    SummandsExposed
        They are so few that a member would have fewer than 3 others.
    SettingError
        They are too many.
    """
    names = sorted(set(members))
    if len(names) <= FEWEST_SUMMANDS:
        raise SummandsExposed(
            "masked contributions of so few members would show single ones",
            expected=f"{FEWEST_SUMMANDS} or more others, named with --member",
            got=len(names) - 1,
        )
    if len(names) > MOST_CATEGORIES:
        raise SettingError(
            "contributions are added up for so many members at most",
            expected=f"at most {MOST_CATEGORIES} members",
            got=len(names),
        )
    numbers: dict[str, Any] = {name: {"kind": "number"} for name in names}
    return TableSchema.model_validate(
        {
            "name": "measured merges",
            "label": "effect > 0",
            "least_rows": _FEWEST_MERGES,
            "columns": {SENDER: {"kind": "category"}, **numbers},
        }
    )


def merges_summary(effects: Mapping[str, Sequence[float]], schema: TableSchema, *, own: str) -> Summary:
    """Summarise a member's measured merges.

    Parameters
    ----------
    effects : mapping of str to sequence of float
        By peer id of the sender. Of those with a single merge nothing is told.
    schema : TableSchema
        Of `merges_schema`.
    own : str
        The member's peer id: what it got from itself does not count.
    """
    told = dict[str, list[int]]()
    for name in schema.columns:
        units = [to_units(repr(each)) for each in effects.get(name, ()) if name not in (SENDER, own)]
        known = [each for each in units if each is not None]
        if len(known) >= schema.least_rows:
            told[name] = known
    numbers = [
        NumberSummary(present=len(units), total=sum(units), squares=sum(each * each for each in units))
        for units in (told.get(name, []) for name in schema.columns if name != SENDER)
    ]
    senders = CategorySummary(rows={name: len(units) for name, units in sorted(told.items())})
    return Summary(rows=senders.present, columns=(senders, *numbers))


class MaskedContributions(MaskedSummaries):
    """Masked summaries of a roster's measured merges; see `MaskedSummaries`."""

    def _vector(self, names: Names) -> list[int]:
        """Return this peer's sums, without those of senders that too few members measured."""
        measured: dict[str, int] = {}
        for key in self._roster:
            for sender in self._known(key).names[0]:
                measured[sender] = measured.get(sender, 0) + (sender != peer_id_of(key))
        enough = {sender for sender, members in measured.items() if members >= FEWEST_SUMMANDS}
        return vector_of(_only(self._own, self.schema, enough), names)

    def common(self) -> CommonStatistics:
        """Return the sums over all members.

        Raises
        ------
        SummandsExposed
            Of no member's models enough others measured merges.
        MalformedStatement
            No measured merges have these sums: a member lied.
        """
        common = super().common()
        if not common.total.rows:
            raise SummandsExposed(
                "no member's models were measured by enough others, so no sum is told",
                expected=f"measured merges at {FEWEST_SUMMANDS} or more others, {_FEWEST_MERGES} or more at each",
                remedy="Set evaluation.merge_samples at all members, and let them learn with more neighbours.",
            )
        return common


def contributions_in(common: CommonStatistics) -> dict[str, Contribution]:
    """Return what each member's models did for the others, by peer id."""
    found = {}
    for name, each in zip(common.schema.columns, common.total.columns, strict=True):
        if isinstance(each, NumberSummary):
            found[name] = Contribution(
                merges=each.present,
                total=from_units(each.total),
                mean=common.mean(name),
                deviation=common.deviation(name),
            )
    return found


def _only(summary: Summary, schema: TableSchema, senders: Collection[str]) -> Summary:
    """Return a summary without the merges of other senders."""
    columns: list[CategorySummary | NumberSummary] = []
    for name, each in zip(schema.columns, summary.columns, strict=True):
        if isinstance(each, CategorySummary):
            columns.append(CategorySummary(rows={who: n for who, n in each.rows.items() if who in senders}))
        else:
            columns.append(each if name in senders else NumberSummary())
    return Summary(rows=columns[0].present, columns=tuple(columns))
