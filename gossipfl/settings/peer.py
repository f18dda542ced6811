"""Settings of a peer: one table of its TOML file each."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from gossipfl.settings.addresses import parse_address, public_key_of
from gossipfl.settings.codec_names import AUTO, ExchangeCodec, require_model_codec
from gossipfl.settings.estimates import EstimatesSettings
from gossipfl.settings.gate import PEAK_OF_KEYBOARDS, GateSettings
from gossipfl.settings.keyboard import TASK_OF_KEYBOARDS, KeyboardSettings
from gossipfl.settings.learning import GossipSettings, TrainingSettings
from gossipfl.settings.log import LogSettings
from gossipfl.settings.membership import MembershipSettings
from gossipfl.settings.outgoing import MaskSettings, OutgoingSettings, codec_name_in, require_order
from gossipfl.settings.page import PageSettings
from gossipfl.settings.personal import PersonalSettings
from gossipfl.settings.policy import PolicySettings
from gossipfl.settings.rounds import RoundsSettings
from gossipfl.settings.stats import StatsSettings
from gossipfl.settings.table import Table

__all__ = [
    "BootstrapSettings",
    "CheckpointSettings",
    "EvaluationSettings",
    "ExchangeSettings",
    "NetworkSettings",
    "PeerSettings",
    "RecordsSettings",
    "RuntimeSettings",
    "TaskSettings",
    "ViewSettings",
]

_DEVICE = re.compile(r"cpu|cuda(:\d{1,3})?|mps|auto", re.ASCII)


class TaskSettings(Table):
    """What is learned."""

    name: str = "digits"
    """a bundled task, or package.module:factory"""
    options: dict[str, Any] = Field(default_factory=dict)
    """keyword arguments of the factory"""
    metrics: list[str] = Field(default_factory=list)
    """further metrics, each package.module:function or a name that a package offers"""


class ExchangeSettings(Table):
    """When models are exchanged with neighbours, and when the merged model is trained."""

    period: float = Field(1.0, gt=0)
    """seconds between exchanges that this peer starts"""
    jitter: float = Field(0.2, ge=0, lt=1)
    """share of the period by which it varies at random"""
    mode: Literal["push-pull", "push", "pull"] = "push-pull"
    """push: this peer sends its model; pull: it asks for the neighbour's; push-pull: both"""
    codec: ExchangeCodec = "float32"
    """how numbers are sent: float32, bfloat16, float16, int8 or qsgd:LEVELS:BUCKET, the fewer bytes, the less
    precision; or auto, for each neighbour the most precise of float32, bfloat16 and int8 that its link carries in
    time"""
    merges_per_training: int = Field(1, gt=0)
    """received models that are merged before the next local training"""
    patience: float = Field(10.0, gt=0)
    """seconds without enough received models after which a peer trains alone"""
    mailbox: int = Field(16, gt=0)
    """received models that may wait to be merged; more are refused, but for newer ones of the same senders"""
    incoming_bytes: int = Field(256_000_000, gt=0)
    """memory for models that are being received or wait to be merged; two of them have room in any case"""
    accept_pushes: bool = True
    """whether neighbours may send models unasked; a peer that accepts none gets those that it asks for"""
    deadline: float = Field(20.0, gt=0)
    """seconds in which an exchange succeeds, or has failed, besides the time for rows of more than 128 KiB,
    which follows from the throughput of the path"""
    join_models: int = Field(3, ge=0)
    """peers whose models a newcomer, or a peer that was away for ten minutes, compares on its test samples to
    begin with the best; 0 merges whatever comes first"""
    concurrent: int = Field(4, gt=0)
    """exchanges this peer has in progress at once"""


class ViewSettings(Table):
    """Knowledge of others."""

    size: int = Field(30, gt=0, le=64)
    """peers it remembers"""
    exchanged: int = Field(16, gt=0, le=64)
    """how many of them it sends to a neighbour at a time"""
    period: float = Field(10.0, gt=0)
    """seconds between exchanges of views"""
    failures: int = Field(3, gt=0)
    """failed exchanges in a row after which a peer is forgotten"""
    narrower: bool = False
    """whether to dial loopback and private addresses learned from peers elsewhere"""

    @model_validator(mode="after")
    def _exchanged_fits(self) -> ViewSettings:
        if self.exchanged > self.size and "exchanged" in self.model_fields_set:
            message = f"view.exchanged ({self.exchanged}) is larger than view.size ({self.size})"
            raise ValueError(message)
        return self


class BootstrapSettings(Table):
    """Where a peer looks for others, besides ``network.bootstrap``."""

    file: Path | None = None
    """file of peers, an address ending in /p2p/PEER_ID a line, read again when it changes; relative to the
    peer's home"""
    mdns: bool = False
    """whether to announce the peer on the local network and look for others there (multicast DNS)"""


class NetworkSettings(Table):
    """Where a peer listens, whom it asks first, and how much others may use."""

    listen: list[str] = Field(default_factory=lambda: ["/ip4/127.0.0.1/tcp/0"], min_length=1)
    """multiaddresses to listen on; port 0 takes a free one"""
    announce: list[str] = Field(default_factory=list)
    """addresses to announce instead, e.g. of the router in front"""
    bootstrap: list[str] = Field(default_factory=list)
    """addresses of a peer or two, each ending in /p2p/PEER_ID"""
    relay: list[str] = Field(default_factory=list)
    """addresses of peers, each ending in /p2p/PEER_ID, through which others reach this one behind its router
    (needs gossipfl[libp2p])"""
    offer_relay: bool = False
    """whether other peers may reach each other through this one (needs gossipfl[libp2p])"""
    allow: list[str] = Field(default_factory=list)
    """peer ids that may connect; everybody, if there are none"""
    connections: int = Field(256, gt=0)
    """connections at a time"""
    connections_per_address: int = Field(128, gt=0)
    """connections at a time with one address"""
    frames_per_second: float = Field(200.0, gt=0)
    """messages per second that one peer may send"""
    bytes_per_second: float = Field(1e9, gt=0)
    """bytes per second that one peer may send"""
    upload_mbits: float | None = Field(None, gt=0)
    """Mbit/s that this peer sends at most, to all others together; any number if not set"""
    download_mbits: float | None = Field(None, gt=0)
    """Mbit/s that this peer receives at most, from all others together; any number if not set"""
    dial_seconds: float = Field(10.0, gt=0)
    """seconds in which a connection stands, or has failed"""
    silence_seconds: float = Field(15.0, gt=0)
    """silence after which a connection is dropped"""

    @field_validator("listen", "announce", "bootstrap", "relay")
    @classmethod
    def _addresses(cls, addresses: list[str], info: ValidationInfo) -> list[str]:
        for address in addresses:
            parse_address(address, smallest_port=0 if info.field_name == "listen" else 1)
        return addresses

    @field_validator("allow")
    @classmethod
    def _peer_ids(cls, peer_ids: list[str]) -> list[str]:
        for peer_id in peer_ids:
            public_key_of(peer_id)
        return peer_ids

    @field_validator("bootstrap", "relay")
    @classmethod
    def _with_identity(cls, addresses: list[str]) -> list[str]:
        for address in addresses:
            if "/p2p/" not in address:
                message = (
                    f"{address!r} does not say whom to expect there: append /p2p/PEER_ID "
                    "(`gossipfl peer status` prints it)"
                )
                raise ValueError(message)
        return addresses


class CheckpointSettings(Table):
    """When a peer saves its model."""

    period: float = Field(30.0, gt=0)
    """seconds between checkpoints"""


class RecordsSettings(Table):
    """How many records a peer keeps."""

    file_megabytes: float = Field(64.0, gt=0)
    """size of a file after which the next one is begun; at most a quarter of ``keep_megabytes``"""
    keep_megabytes: float = Field(4096.0, gt=0)
    """size of all files, beyond which the oldest are removed, but for a summary"""
    keep_days: float = Field(400.0, gt=0)
    """age in days at which files are removed"""


class EvaluationSettings(Table):
    """When a peer evaluates its model on its own test samples."""

    period: float = Field(10.0, gt=0)
    """seconds between evaluations"""
    merge_samples: int = Field(0, ge=0)
    """test samples on which the effect of every merge on the model's loss is measured, before training, so that it
    is known what each neighbour gave; 0: not measured"""


class RuntimeSettings(Table):
    """How a peer uses its machine."""

    number: int = Field(0, ge=0)
    """number of the peer, by which its batches are drawn"""
    threads: int = Field(1, gt=0)
    """number of threads that torch may use"""
    device: str = "cpu"
    """where the peer trains, evaluates, gates and predicts: cpu, cuda, cuda:1, mps, or auto for the first
    accelerator that there is"""
    seed: int = Field(0, ge=0)
    """seed of the peer's choice of neighbours, with its identity"""
    modules: Path | None = None
    """directory searched first for modules of your own, relative to the peer's home; by default the home, or where
    the peer was made, if they stand there"""

    @field_validator("device")
    @classmethod
    def _device(cls, name: str) -> str:
        if not _DEVICE.fullmatch(name):
            raise ValueError("expected cpu, cuda, cuda:N with N from 0, mps or auto")
        return name


class PeerSettings(Table):
    """Everything that can be set; each field is a table of the TOML file.

    Examples
    --------
    >>> settings = PeerSettings.model_validate({"exchange": {"period": 0.5}})
    >>> settings.exchange.period, settings.gate.enabled
    (0.5, True)
    """

    task: TaskSettings = Field(default_factory=TaskSettings)
    training: TrainingSettings = Field(default_factory=TrainingSettings)
    gossip: GossipSettings = Field(default_factory=GossipSettings)
    gate: GateSettings = Field(default_factory=GateSettings)
    exchange: ExchangeSettings = Field(default_factory=ExchangeSettings)
    rounds: RoundsSettings = Field(default_factory=RoundsSettings)
    outgoing: list[OutgoingSettings] = Field(default_factory=list)
    """transformations of a row before it leaves the peer, in order"""
    view: ViewSettings = Field(default_factory=ViewSettings)
    network: NetworkSettings = Field(default_factory=NetworkSettings)
    bootstrap: BootstrapSettings = Field(default_factory=BootstrapSettings)
    membership: MembershipSettings = Field(default_factory=MembershipSettings)
    checkpoint: CheckpointSettings = Field(default_factory=CheckpointSettings)
    records: RecordsSettings = Field(default_factory=RecordsSettings)
    evaluation: EvaluationSettings = Field(default_factory=EvaluationSettings)
    personal: PersonalSettings = Field(default_factory=PersonalSettings)
    log: LogSettings = Field(default_factory=LogSettings)
    estimates: EstimatesSettings = Field(default_factory=EstimatesSettings)
    page: PageSettings = Field(default_factory=PageSettings)
    keyboard: KeyboardSettings = Field(default_factory=KeyboardSettings)
    stats: StatsSettings = Field(default_factory=StatsSettings)
    policy: PolicySettings = Field(default_factory=PolicySettings)
    runtime: RuntimeSettings = Field(default_factory=RuntimeSettings)

    @property
    def codec(self) -> str:
        """Name of the codec that rows are sent with, in its short form or among the tables ``outgoing``."""
        return codec_name_in(self.outgoing) or self.exchange.codec

    @property
    def gate_in_force(self) -> GateSettings:
        """The gate, which limits single numbers for keyboards: one bias can have a word suggested everywhere."""
        if self.gate.peak is None and self.keyboard.enabled:
            return self.gate.model_copy(update={"peak": PEAK_OF_KEYBOARDS})
        return self.gate

    @model_validator(mode="after")
    def _keyboard_suggests(self) -> PeerSettings:
        if self.keyboard.enabled and self.task.name != TASK_OF_KEYBOARDS:
            raise ValueError(
                f"keyboard.enabled: a keyboard needs a task that suggests words; expected task.name = "
                f"{TASK_OF_KEYBOARDS!r}; got {self.task.name!r}. Set keyboard.enabled to false, or the task"
            )
        return self

    @model_validator(mode="after")
    def _gossip_discovers(self) -> PeerSettings:
        if self.rounds.algorithm is not None and self.bootstrap != BootstrapSettings():
            raise ValueError(
                "bootstrap: in rounds the roster says who takes part and where; leave the table out"
            )
        return self

    @model_validator(mode="after")
    def _gossip_relays(self) -> PeerSettings:
        if self.rounds.algorithm is not None and (self.network.relay or self.network.offer_relay):
            raise ValueError("network.relay and network.offer_relay: members of rounds are dialled directly")
        return self

    @model_validator(mode="after")
    def _private_in_one_way(self) -> PeerSettings:
        if self.training.privacy is None:
            return self
        if any(getattr(each, "epsilon", None) for each in self.outgoing):
            raise ValueError(
                "outgoing has a noise with epsilon beside [training.privacy]: a budget of rows counts each that "
                "is sent, and a budget of training each step; leave one of them out"
            )
        if self.rounds.algorithm is None and self.gate.enabled and self.gate.loss_samples:
            raise ValueError(
                "gate.loss_samples beside [training.privacy]: the gate decides by losses on this peer's own "
                "samples, to which no noise is added; set gate.loss_samples = 0"
            )
        return self

    @model_validator(mode="after")
    def _outgoing_in_order(self) -> PeerSettings:
        short = self.exchange.codec
        require_order(self.outgoing, codec=None if short == "float32" else short)
        if self.codec != AUTO:
            require_model_codec(self.codec)
        elif self.rounds.algorithm is not None:
            raise ValueError(
                "exchange.codec = 'auto' chooses a codec for each neighbour, and in rounds all members have "
                "the same: name one"
            )
        if self.rounds.algorithm is None and any(isinstance(each, MaskSettings) for each in self.outgoing):
            raise ValueError(
                "outgoing has a mask, which all nodes of a round share, and this peer gossips: leave it out, or "
                "set rounds.algorithm"
            )
        return self
