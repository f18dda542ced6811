"""Algorithms that learn together: pure functions on rows."""

from __future__ import annotations

from gossipfl.algorithms.base import (
    AnyExchange,
    Exchange,
    LinkExchange,
    Links,
    LocalTraining,
    Mixed,
    Neighbourhood,
    NeighbourRows,
    Requirements,
    Round,
    RoundAlgorithm,
    RoundContext,
)
from gossipfl.algorithms.drive import RoundInProgress, run_round
from gossipfl.algorithms.gossip.ad_psgd import ADPSGD
from gossipfl.algorithms.gossip.flow import Flow
from gossipfl.algorithms.gossip.gossip_learning import GossipLearning
from gossipfl.algorithms.gossip.push_sum import PushSum
from gossipfl.algorithms.gossip.sharing import Sharing
from gossipfl.algorithms.messages import Behaviour, Message, MessageAlgorithm
from gossipfl.algorithms.recovery import adopt, go_back, resumed
from gossipfl.algorithms.rounds.d_cliques import DCliques
from gossipfl.algorithms.rounds.d_psgd import DPSGD
from gossipfl.algorithms.rounds.dfedavg import DFedAvg
from gossipfl.algorithms.rounds.epidemic_learning import EpidemicLearning
from gossipfl.algorithms.rounds.fedavg import FedAvg
from gossipfl.algorithms.rounds.pooled_sgd import PooledSGD
from gossipfl.algorithms.rounds.relay_sgd import RelaySGD
from gossipfl.algorithms.rounds.stochastic_gradient_push import StochasticGradientPush

__all__ = [
    "ADPSGD",
    "DPSGD",
    "AnyExchange",
    "Behaviour",
    "DCliques",
    "DFedAvg",
    "EpidemicLearning",
    "Exchange",
    "FedAvg",
    "Flow",
    "GossipLearning",
    "LinkExchange",
    "Links",
    "LocalTraining",
    "Message",
    "MessageAlgorithm",
    "Mixed",
    "NeighbourRows",
    "Neighbourhood",
    "PooledSGD",
    "PushSum",
    "RelaySGD",
    "Requirements",
    "Round",
    "RoundAlgorithm",
    "RoundContext",
    "RoundInProgress",
    "Sharing",
    "StochasticGradientPush",
    "adopt",
    "go_back",
    "resumed",
    "run_round",
]
