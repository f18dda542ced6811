"""Attacks on recorded peers: membership and links, on the models that their homes keep.

A peer's last saved model, after its own clipping, noise and codec, is what it sends next. Its training samples are
the members; test samples of the classes that it has stand for the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.codecs import codec
from gossipfl.codecs.draws import message_key
from gossipfl.outgoing import Draws, pipeline_of
from gossipfl.peer.store.checkpoint import load_checkpoint
from gossipfl.tasks import Dataset, Task, find_task
from gossipfl.tasks.samples import Tree, class_labels, count, map_leaves, take
from gossipfl.training.optimisers import optimiser_of
from sims.privacy.attacks.auditing import rate_of
from sims.privacy.attacks.linkability import LinkFindings
from sims.privacy.attacks.membership import MembershipFindings, confidences_of, findings_of
from sims.privacy.errors import NotAccountable
from sims.replay.errors import KeyboardSealed
from sims.replay.lives import RecordedPeer
from sims.replay.peer_records import read_peers

__all__ = ["RecordedAttacks", "attack_homes"]

Floats = NDArray[np.float64]

_MOST = 400
"""Samples of a peer, and of its test samples, that are judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedAttacks:
    """What attacks on the models of recorded peers found.

    Parameters
    ----------
    peers : tuple of str
    membership : dict of str to MembershipFindings
        By attack; without a bound from one run, as no coins decided who is a member.
    links : LinkFindings
        By samples that were trained on.
    """

    peers: tuple[str, ...]
    membership: dict[str, MembershipFindings]
    links: LinkFindings


@dataclass(frozen=True, slots=True, kw_only=True)
class _Peer:
    """One peer as a neighbour has it, beside its data."""

    peer: str
    task: Task
    row: Tensor
    own: tuple[Tree, Tree]
    others: tuple[Tree, Tree]


def attack_homes(
    homes: Sequence[Path], *, delta: float = 1e-5, confidence: float = 0.95, seed: int = 0
) -> RecordedAttacks:
    """Attack the models that peers of one network saved last.

    Parameters
    ----------
    homes : sequence of Path
        At least two, with checkpoints, where their data can be read.
    delta, confidence : float
    seed : int
        Chooses samples, and stands for the secret of noise.

    Raises
    ------
    NotAccountable
        If a home has no saved model, or its rows are masked.
    """
    peers = [_peer(each, seed) for each in read_peers(homes)]
    if len(peers) < 2:
        raise NotAccountable("models are compared with one another", expected="at least two homes", got=1)
    rows = torch.stack([each.row for each in peers])
    losses = [(_losses(each, rows, each.own), _losses(each, rows, each.others)) for each in peers]
    scores: dict[str, tuple[list[Floats], list[Floats]]] = {"loss": ([], []), "others' models": ([], [])}
    for place, kinds in enumerate(losses):
        rest = np.arange(len(peers)) != place
        for side, found in enumerate(kinds):
            logits = confidences_of(found)
            scores["loss"][side].append(-found[place])
            scores["others' models"][side].append(logits[place] - logits[rest].mean(axis=0))
    membership = {
        name: findings_of(np.concatenate(members), np.concatenate(others), delta=delta, confidence=confidence)
        for name, (members, others) in scores.items()
    }
    of_data = np.stack([own.mean(axis=1) for own, _ in losses], axis=1)  # [models, candidates]
    of_data -= of_data.mean(axis=0)
    right = int((of_data.argmin(axis=1) == np.arange(len(peers))).sum())
    links = LinkFindings(
        models=len(peers),
        candidates=len(peers),
        top1=rate_of(right, len(peers), confidence=confidence),
        chance=1 / len(peers),
    )
    return RecordedAttacks(peers=tuple(each.peer for each in peers), membership=membership, links=links)


def _peer(recorded: RecordedPeer, seed: int) -> _Peer:
    life = next(reversed(recorded.lives.values()))
    settings, path = life.settings, recorded.home.checkpoint
    if settings.keyboard.enabled:
        raise KeyboardSealed.of(recorded.peer)
    if not path.exists():
        raise NotAccountable(
            f"peer {recorded.peer} has saved no model", remedy="Let it run for longer than checkpoint.period."
        )
    task = find_task(
        settings.task.name,
        settings.task.options,
        metrics=settings.task.metrics,
        directory=settings.runtime.modules,
    )
    layout = task.layout
    optimiser = optimiser_of(settings.training, tensors=len(layout.trained_widths))
    size = optimiser.state_size(layout.trainable_size)
    row = load_checkpoint(path, task, optimiser_state_size=size).nodes.rows
    pipeline = pipeline_of(
        settings.outgoing, codec=codec(settings.codec) if settings.codec != "auto" else None
    )
    if pipeline.mask is not None:
        raise NotAccountable(f"peer {recorded.peer} sends a masked share of its numbers at a time")
    draws = Draws(
        keys=torch.tensor([message_key(recorded.peer, incarnation=life.incarnation, sequence=seed)])
    )
    shared = pipeline.transform(row[:, : layout.shared_size], draws)
    if pipeline.codec is not None:
        shared = pipeline.codec.compress(shared, keys=draws.keys)
    rest = task.initial_row()[None, layout.shared_size :]
    data = task.dataset()
    own, others = _samples(data, np.random.Generator(np.random.Philox(key=[seed, 12])))
    sent = torch.cat([shared, rest], dim=1)[0]
    return _Peer(peer=recorded.peer, task=task, row=sent, own=own, others=others)


def _samples(data: Dataset, generator: np.random.Generator) -> tuple[tuple[Tree, Tree], tuple[Tree, Tree]]:
    """Samples that were trained on, and test samples of the same classes."""
    members = generator.permutation(count(data.train_targets))[:_MOST]
    others = generator.permutation(count(data.test_targets))
    own_classes, classes = class_labels(data.train_targets), class_labels(data.test_targets)
    if own_classes is not None and classes is not None:
        others = others[np.isin(classes[others], own_classes)]
    if not len(others):
        raise NotAccountable("no test sample is of a class that the peer has")
    inputs, targets = data.train_inputs, data.train_targets
    tests = (data.test_inputs, data.test_targets)
    some = torch.from_numpy(members), torch.from_numpy(others[:_MOST])
    return (take(inputs, some[0]), take(targets, some[0])), (take(tests[0], some[1]), take(tests[1], some[1]))


def _losses(peer: _Peer, rows: Tensor, samples: tuple[Tree, Tree]) -> Floats:
    """Loss of each sample on each row, ``[rows, samples]``."""
    alone = map_leaves(lambda leaf: leaf.unsqueeze(1), samples)
    total = count(samples[1])
    found = [peer.task.evaluate_each(row.expand(total, -1), *alone)["loss"].double().numpy() for row in rows]
    losses: Floats = np.nan_to_num(np.stack(found), nan=500.0, posinf=500.0)
    return losses
