"""Bytes of the rows that a recorded peer sent in rounds."""

from __future__ import annotations

from gossipfl.codecs import codec
from gossipfl.outgoing import pipeline_of
from gossipfl.rounds import RoundsPlan, plan_of
from gossipfl.training import Trainer
from sims.replay.lives import Life

__all__ = ["plan_of_start", "row_bytes"]


def plan_of_start(life: Life, trainer: Trainer) -> RoundsPlan:
    """Give the plan that a start had.

    Raises
    ------
    SettingError, InvalidAlgorithm
        If its algorithm or topology cannot be made here.
    """
    return plan_of(
        life.settings,
        peer_id=life.peer,
        trainer=trainer,
        outgoing=pipeline_of(life.settings.outgoing, codec=codec(life.settings.codec)),
    )


def row_bytes(plan: RoundsPlan) -> tuple[int, ...]:
    """Bytes of a row, without its header, in each exchange of a round."""
    return tuple(
        sum(spec.most_bytes for spec in plan.codec_of(form).expected(plan.outgoing.width(form.size)))
        for form in plan.forms
    )
