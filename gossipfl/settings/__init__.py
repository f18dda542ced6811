"""Every setting of a peer, defined once: the source of the TOML file, the flags and the documentation.

Light on purpose (pydantic only), so that ``--help`` needs neither torch nor libp2p.
"""

from __future__ import annotations

from gossipfl.settings.estimates import EstimatesSettings
from gossipfl.settings.keyboard import KeyboardSettings
from gossipfl.settings.learning import GossipSettings, Schedule, TrainingSettings
from gossipfl.settings.loading import dump_settings, load_settings, parse_settings
from gossipfl.settings.membership import MembershipSettings
from gossipfl.settings.modules import with_modules
from gossipfl.settings.page import PageSettings
from gossipfl.settings.peer import (
    BootstrapSettings,
    CheckpointSettings,
    EvaluationSettings,
    ExchangeSettings,
    NetworkSettings,
    PeerSettings,
    RecordsSettings,
    RuntimeSettings,
    TaskSettings,
    ViewSettings,
)
from gossipfl.settings.personal import PersonalSettings
from gossipfl.settings.policy import PolicySettings
from gossipfl.settings.rounds import RoundsSettings
from gossipfl.settings.sample_privacy import SamplePrivacySettings

__all__ = [
    "BootstrapSettings",
    "CheckpointSettings",
    "EstimatesSettings",
    "EvaluationSettings",
    "ExchangeSettings",
    "GossipSettings",
    "KeyboardSettings",
    "MembershipSettings",
    "NetworkSettings",
    "PageSettings",
    "PeerSettings",
    "PersonalSettings",
    "PolicySettings",
    "RecordsSettings",
    "RoundsSettings",
    "RuntimeSettings",
    "SamplePrivacySettings",
    "Schedule",
    "TaskSettings",
    "TrainingSettings",
    "ViewSettings",
    "dump_settings",
    "load_settings",
    "parse_settings",
    "with_modules",
]
