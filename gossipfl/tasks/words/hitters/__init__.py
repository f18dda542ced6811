"""Words that many people use, found from noisy counts alone: private heavy hitters by rounds on a prefix tree."""

from gossipfl.tasks.words.hitters.offers import Offer, offer_of
from gossipfl.tasks.words.hitters.plan import LARGEST_ROUND, WordPlan
from gossipfl.tasks.words.hitters.rounds import Round, agreed, counted, first_round, following, noisy_counts

__all__ = [
    "LARGEST_ROUND",
    "Offer",
    "Round",
    "WordPlan",
    "agreed",
    "counted",
    "first_round",
    "following",
    "noisy_counts",
    "offer_of",
]
