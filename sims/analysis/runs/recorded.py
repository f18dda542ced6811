"""Runs of real peers, from their homes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from gossipfl.algorithms.file_form import settings_of
from gossipfl.codecs import FLOAT32, codec
from gossipfl.errors import GossipflError
from gossipfl.outgoing import pipeline_of
from gossipfl.peer import Home
from gossipfl.peer.assembly import trainer_of
from gossipfl.peer.gossip.plan import gossip_algorithm
from gossipfl.peer.store.checkpoint import read_row
from gossipfl.settings import PeerSettings
from gossipfl.settings.codec_names import AUTO
from gossipfl.tasks import Task, find_task
from sims.analysis.errors import DamagedRun
from sims.analysis.runs.peer_curves import retraced_records, self_measured_records
from sims.analysis.runs.run import Run
from sims.analysis.runs.traffic import Traffic, traffic_of, traffic_of_rounds
from sims.calibration.calibrate import Calibration, calibrate, numbered
from sims.replay.lives import Life, RecordedPeer, usual_codec
from sims.replay.message_bytes import plan_of_start, row_bytes
from sims.replay.peer_records import read_peers
from topology.errors import ExplainedError

__all__ = ["is_home", "read_recorded"]


def is_home(directory: Path) -> bool:
    """Whether the directory is a peer's home."""
    return Home(directory).settings.is_file()


def read_recorded(homes: Sequence[Path], *, retrace: bool = True) -> Run:
    """Read the run of a network of peers; one in progress, as far as it has got.

    Parameters
    ----------
    homes : sequence of Path
        Of all peers of the network.
    retrace : bool
        Recompute the peers' models from their records (docs/records.md), so that quantities no peer can know, such
        as the consensus distance, are known at every moment. Takes about 3 ms per event. Without it, the curves
        are the peers' own measurements.

    Raises
    ------
    HomeMissing, MissingRecords, TornRecords, OtherSettings, DuplicatePeer, CorruptCheckpoint
        If homes are not those of recorded peers, one each.
    EmptyRun
        If nothing was measured, and models are not recomputed.
    """
    peers = numbered(read_peers(homes))
    lives = [next(reversed(peer.lives.values())) for peer in peers]
    settings = lives[0].settings
    notes: list[str] = []
    in_rounds = settings.rounds.algorithm is not None
    calibration = None if in_rounds else _calibrated(homes, notes)
    period = settings.exchange.period if calibration is None else calibration.scenario.network.period
    tasks = [
        find_task(
            each.task.name,
            dict(each.task.options),
            metrics=each.task.metrics,
            directory=each.runtime.modules,
        )
        for each in (life.settings for life in lives)
    ]
    rows, labels = _last_rows(peers, notes)
    running = sum(peer.home.is_running() for peer in peers)
    if running:
        notes.append(f"{running} of {len(peers)} peers are still running: analysed as far as they are")
    run = Run(
        path=_common_parent(homes),
        source="peers",
        name=_common_parent(homes).name or "peers",
        seed=settings.runtime.seed,
        finished=not running,
        configuration=_configuration(settings, len(peers)),
        task=settings.task.name,
        task_options=tuple(dict(life.settings.task.options) for life in lives),
        training=settings.training,
        learns=True,
        curves=pl.DataFrame(),
        nodes=None,
        rows=rows,
        labels=labels,
        scenario=None if calibration is None else calibration.scenario,
        edges=np.array(calibration.edges, dtype=np.int64) if calibration and calibration.edges else None,
        topology=settings.rounds.topology or "" if in_rounds else "",
        homes=tuple(peer.home.directory for peer in peers),
        numbers=tuple(life.number for life in lives),
        keyboard=next((life.peer for life in lives if life.settings.keyboard.enabled), ""),
        notes=(),
    )
    with _damage_named(homes):
        traffic = (
            _traffic_of_rounds(peers, lives[0], tasks[0], notes)
            if in_rounds
            else _traffic(peers, settings, tasks[0])
        )
        if in_rounds and retrace:
            notes.append(
                "models of peers that learn in rounds are known at their end only: records do not hold them"
            )
        records = retraced_records(run, peers, traffic, period, notes) if retrace and not in_rounds else None
        if records is None:
            records = self_measured_records(peers, tasks[0], traffic, period)
    return replace(run, curves=records.table, nodes=records.nodes, notes=tuple(dict.fromkeys(notes)))


@contextmanager
def _damage_named(homes: Sequence[Path]) -> Iterator[None]:
    """Name records with values of another kind than those of peers."""
    try:
        yield
    except ExplainedError:
        raise
    except (pl.exceptions.PolarsError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise DamagedRun(
            f"the records of the peers in {_common_parent(homes)} are damaged",
            got=f"{type(error).__name__}: {error}"[:200],
            remedy="Restore them from backups, or leave the peer out.",
        ) from error


def _calibrated(homes: Sequence[Path], notes: list[str]) -> Calibration | None:
    """The scenario that the records imply; without one, there is no picture of the network and less theory."""
    try:
        found = calibrate(homes)
    except GossipflError as error:
        notes.append(f"no scenario could be estimated from the records: {error.what}")
        return None
    notes.extend(found.notes)
    return found


def _common_parent(homes: Sequence[Path]) -> Path:
    parents = [str(Path(home).resolve().parent) for home in homes]
    return Path(os.path.commonpath(parents)) if len(homes) > 1 else Path(homes[0])


def _configuration(settings: PeerSettings, peers: int) -> dict[str, Any]:
    """Settings under the names that a scenario has for them."""
    options = {key: value for key, value in settings.task.options.items() if key not in ("index", "seed")}
    own = {key: value for key, value in options.items() if key not in ("partition", "peers")}
    training = settings.training.model_dump(mode="json", exclude={"seed"})
    shared = {
        "population.nodes": peers,
        "task.name": settings.task.name,
        **{f"task.options.{key}": value for key, value in own.items()},
        "task.partition": options.get("partition"),
        **{f"training.{key}": value for key, value in training.items()},
    }
    rounds = settings.rounds
    if rounds.algorithm is not None:
        return {
            **shared,
            "algorithm.name": rounds.algorithm,
            **{f"algorithm.{key}": value for key, value in rounds.parameters.items()},
            "topology.name": rounds.topology,
        }
    declared = settings_of(gossip_algorithm(settings))
    return {
        **shared,
        "algorithm.name": settings.gossip.algorithm,
        **{f"algorithm.{key}": value for key, value in declared.items() if key != "codec"},
        "network.period": settings.exchange.period,
        "network.jitter": settings.exchange.jitter,
        "exchange.codec": settings.codec,
        "exchange.merges_per_training": settings.exchange.merges_per_training,
    }


def _traffic(peers: Sequence[RecordedPeer], settings: PeerSettings, task: Task) -> Traffic:
    name = usual_codec(peers[0].lives.values()) if settings.codec == AUTO else settings.codec
    outgoing = pipeline_of(settings.outgoing, codec=codec(name))
    numbers = gossip_algorithm(settings).behaviour.sharing.share_of(task.layout.shared_size)
    return traffic_of(peers, bytes_each=outgoing.payload_bytes(numbers))


def _traffic_of_rounds(peers: Sequence[RecordedPeer], life: Life, task: Task, notes: list[str]) -> Traffic:
    settings = life.settings
    try:
        plan = plan_of_start(life, trainer_of(task, task.dataset(), settings))
        sizes = dict(enumerate(row_bytes(plan)))
    except GossipflError as error:
        notes.append(f"bytes are those of whole rows, for the rounds cannot be planned here: {error.what}")
        sizes = {}

    def size_of(exchange: int) -> int:
        if sizes and exchange not in sizes:
            raise DamagedRun(
                "records name an exchange that rounds do not have",
                expected=f"0 to {len(sizes) - 1}",
                got=exchange,
                remedy="Restore the records.",
            )
        return sizes.get(exchange, FLOAT32.payload_bytes(task.layout.shared_size))

    return traffic_of_rounds(peers, row_bytes=size_of)


def _last_rows(
    peers: Sequence[RecordedPeer], notes: list[str]
) -> tuple[NDArray[np.float32] | None, tuple[str, ...]]:
    saved = [(index, peer) for index, peer in enumerate(peers) if peer.home.checkpoint.exists()]
    if len(saved) < len(peers):
        notes.append(f"{len(peers) - len(saved)} of {len(peers)} peers never saved their model")
    if not saved:
        return None, ()
    rows = [read_row(peer.home.checkpoint)[0] for _, peer in saved]
    if len({len(row) for row in rows}) > 1:
        raise DamagedRun(
            "the peers' models are of different sizes",
            got=", ".join(str(len(row)) for row in rows),
            remedy="Name the homes of one network.",
        )
    return torch.stack(rows).numpy(), tuple(f"peer {index}" for index, _ in saved)
