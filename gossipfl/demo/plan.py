"""Plan of a demo: its settings, and those of its peers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gossipfl.errors import SettingError
from gossipfl.peer import Home
from gossipfl.settings import PeerSettings, TrainingSettings, parse_settings

__all__ = ["KEYBOARD", "KEYBOARD_RECIPE", "RECIPE", "TOLERANCE_POINTS", "DemoPlan"]

KEYBOARD = "next-word"
"""Task whose peers each have the text of one author, instead of a part of common data."""

#: How far below pooled training peers may be, in percentage points, for a demo to have converged: the worst one,
#: where all have the same test samples; the mean over authors with its interval, where each has its own.
TOLERANCE_POINTS = 2.0

#: What makes eight peers with two label shards each as good as pooled training; see docs/convergence.md.
RECIPE: dict[str, dict[str, Any]] = {
    "training": {
        "learning_rate": 0.2,
        "momentum": 0.9,
        "batch_size": 32,
        "schedule": "cosine",
        "decay_age": 900,
    },
    "exchange": {"period": 0.07, "merges_per_training": 1, "deadline": 5.0, "patience": 5.0},
    "view": {"period": 1.0},
    "network": {"silence_seconds": 6.0},
    "checkpoint": {"period": 1.0},
    "evaluation": {"period": 1.0},
}

_KEYBOARD_LIMITS = {"most": 1000, "most_tested": 200}  # windows of 20 words, of each author

#: What ten authors' peers learn with in half a minute on two cores.
KEYBOARD_RECIPE: dict[str, dict[str, Any]] = {
    **RECIPE,
    "training": {
        "optimiser": "adamw",
        "learning_rate": 0.1,
        "batch_size": 64,
        "local_steps": 4,
        "schedule": "cosine",
        "decay_age": 600,
    },
    # A model that waits behind others holds back whoever merges it in the end.
    "exchange": {**RECIPE["exchange"], "period": 0.35, "mailbox": 1},
    "checkpoint": {"period": 2.0},
    "evaluation": {"period": 4.0},
}

# Steps of AdamW are all of one length, and where peers' gradients are mostly noise, they cancel in the average. So
# gossip needs larger ones than lone and pooled training, which are best at about a third of these.
_KEYBOARD_BASELINE_RATE = 0.3

# An age grows by about two while a peer does one step, if merges take the larger age, and by one if ages are about
# the same, as those of keyboards are. Pooled training gets three times the steps of a peer, lone training as many.
# Of keyboards it gets half as many: later it learns its author's 20,000 words by heart, and gets worse at others.
_BASELINE_STEPS, _KEYBOARD_BASELINE_STEPS = (0.5, 1.5), (0.5, 3.0)


@dataclass(frozen=True, kw_only=True)
class DemoPlan:
    """A demo.

    Parameters
    ----------
    directory : Path
        Holds the homes of the peers, and the picture.
    peers : int
        How many, at least 2.
    task : str
        A bundled task, or ``package.module:factory``, whose factory takes ``partition``, ``peers``, ``index``
        and ``seed``; or ``next-word``, of which each peer has another author's text.
    partition : str
        How the data is divided.
    text : str
        Of ``next-word``: a corpus, or a folder of texts.
    seed : int
        Of the partition, the initial row, the batches and the choice of neighbours.
    duration : float
        Longest duration of gossip in seconds, from when all peers are up.
    kill : int
        Number of peers killed half-way through; one of them is restarted.
    page : bool
        Whether people watch on a page, and may type on the first peer of a keyboard.
    overrides : dict
        By table and key, settings of the peers that override the recipe's.

    Raises
    ------
    SettingError
        If these contradict each other.
    """

    directory: Path
    peers: int = 8
    task: str = "digits"
    partition: str = "shards:2"
    text: str = "sotu"
    seed: int = 0
    duration: float = 40.0
    kill: int = 0
    page: bool = False
    overrides: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.peers < 2:
            raise SettingError("a demo needs peers", expected="--peers of 2 or more", got=self.peers)
        if not 0 <= self.kill <= self.peers - 2:
            raise SettingError(
                "a demo cannot kill so many peers",
                expected=f"--kill of 0 … {self.peers - 2}: two must survive",
                got=self.kill,
            )
        if not self.duration > 0:
            raise SettingError("a demo needs time", expected="--duration above 0 s", got=self.duration)

    def home(self, index: int) -> Home:
        """Home of a peer."""
        return Home(self.directory / f"peer-{index}")

    def task_options(self, index: int) -> dict[str, Any]:
        """Options of the task's factory, for one peer."""
        if self.task == KEYBOARD:
            return {"text": self.text, "user": index, "size": "tiny", **_KEYBOARD_LIMITS, "seed": self.seed}
        return {"partition": self.partition, "peers": self.peers, "index": index, "seed": self.seed}

    def baseline_training(self, training: TrainingSettings) -> TrainingSettings:
        """Settings of lone and of pooled training, given those of the peers."""
        if self.task != KEYBOARD:
            return training
        return training.model_copy(update={"learning_rate": _KEYBOARD_BASELINE_RATE * training.learning_rate})

    @property
    def has_keyboard(self) -> bool:
        """Whether one can type on the first peer."""
        return self.page and self.task == KEYBOARD

    @property
    def baseline_steps(self) -> tuple[float, float]:
        """Steps of lone and of pooled training, for each unit of the age at which the peers' schedule ends."""
        return _KEYBOARD_BASELINE_STEPS if self.task == KEYBOARD else _BASELINE_STEPS

    def settings(self, index: int, *, bootstrap: list[str], listen: str) -> PeerSettings:
        """Settings of one peer.

        Raises
        ------
        SettingError
            If an override is wrong.
        """
        recipe = KEYBOARD_RECIPE if self.task == KEYBOARD else RECIPE
        tables: dict[str, dict[str, Any]] = {name: dict(table) for name, table in recipe.items()}
        tables["training"]["seed"] = self.seed
        tables["runtime"] = {"number": index, "seed": self.seed}
        if self.has_keyboard and index == 0:
            tables["page"] = tables["keyboard"] = {"enabled": True}
        for table, values in self.overrides.items():
            tables.setdefault(table, {}).update(values)
        tables["task"] = {"name": self.task, "options": self.task_options(index)}
        tables["network"].update(listen=[listen], bootstrap=bootstrap)
        return parse_settings(tables, source="the demo's flags", flags=self.overrides)
