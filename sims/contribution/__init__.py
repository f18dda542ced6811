"""Contributions and gains of a scenario's participants, in coalitions that are simulated side by side."""

from sims.contribution.estimation import contributions
from sims.contribution.game import LearningGame
from sims.contribution.report import ContributionReport, Participant

__all__ = ["ContributionReport", "LearningGame", "Participant", "contributions"]
