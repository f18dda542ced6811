"""Networks that learn and record with the code of peers; their exchanges are function calls."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from gossipfl.algorithms import Message, resumed
from gossipfl.codecs import codec, message_key
from gossipfl.network import load_or_create_identity
from gossipfl.peer import Home
from gossipfl.peer.assembly import first_state, resumed_state, trainer_of
from gossipfl.peer.gossip.events import Incoming
from gossipfl.peer.gossip.learner import Learner
from gossipfl.peer.gossip.plan import gossip_algorithm, in_full
from gossipfl.peer.store.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from gossipfl.peer.store.records import RecordWriter
from gossipfl.settings import PeerSettings, parse_settings
from gossipfl.tasks import find_task

TASK = "tests.integration.tasks:blobs"


def settings_of(index: int, **tables) -> PeerSettings:
    merged = {"runtime": {"number": index}, "exchange": {"merges_per_training": 2}}
    for table, values in tables.items():
        merged.setdefault(table, {}).update(values)
    merged.setdefault("task", {"name": TASK, "options": {"index": index}})
    return parse_settings(merged, source="a test")


class RecordingPeer:
    """A peer's learner, home and records, driven by hand."""

    def __init__(self, directory: Path, settings: PeerSettings) -> None:
        self.home = Home(directory)
        self.home.create(settings)
        self.settings = settings = in_full(settings)
        self.peer_id = load_or_create_identity(directory).peer_id
        self.task = find_task(settings.task.name, settings.task.options)
        self.trainer = trainer_of(self.task, self.task.dataset(), settings)
        self.sequence = 0
        self.start()

    def start(self) -> None:
        """Start, or start again from the checkpoint as a killed peer does."""
        saved = None
        if self.home.checkpoint.exists():
            saved = load_checkpoint(
                self.home.checkpoint, self.task, optimiser_state_size=self.trainer.optimiser_state_size
            )
        self.incarnation = self.home.next_incarnation(now=0)
        self.records = RecordWriter(
            self.home.records, incarnation=self.incarnation, settings=self.settings.records
        )
        state = resumed_state(saved) if saved else first_state(self.task, self.trainer, self.settings)
        algorithm = self.algorithm = gossip_algorithm(self.settings)
        nodes = resumed(state.nodes, algorithm, optimiser_state_size=self.trainer.optimiser_state_size)
        self.state = replace(state, nodes=nodes)
        self.learner = Learner(
            state=self.state,
            trainer=self.trainer,
            algorithm=algorithm,
            merges_per_training=self.settings.exchange.merges_per_training,
            patience=1.0,
            mailbox=8,
            record=self.records.append,
        )
        self.records.append(
            {
                "kind": "start",
                "peer": self.peer_id,
                "number": self.settings.runtime.number,
                "task": self.task.fingerprint.hex(),
                "layout": self.task.layout.digest.hex(),
                "event": self.state.event,
                "age": self.state.age,
                "step": self.state.step,
                "merges_pending": self.state.merges_pending,
                "resumed_from": saved.incarnation if saved else None,
                "settings": self.settings.model_dump_json(),
                "threads": torch.get_num_threads(),
                "torch": torch.__version__,
            }
        )

    def train_alone(self) -> None:
        self.state = self.learner._work(self.state, [])

    def message(self) -> Incoming:
        """The model as it is now, with the precision it has after the way over the wire."""
        way, size = codec(self.settings.exchange.codec), self.task.layout.shared_size
        self.sequence += 1
        key = message_key(self.peer_id, incarnation=self.incarnation, sequence=self.sequence)

        def decoded(row):
            return way.decode(way.encode(row.clone(), key=key), len(row)).clone()

        sent = self.algorithm.emit(self.state.nodes, shared_size=size)
        carried = {
            name: rows if rows.dim() == 1 else decoded(rows[0])[None] for name, rows in sent.carried.items()
        }
        return Incoming(
            message=Message(shared=decoded(sent.shared[0])[None], ages=sent.ages, carried=carried),
            sender=self.peer_id,
            incarnation=self.incarnation,
            sequence=self.sequence,
            event=self.state.event,
            codec=way.name,
        )

    def take_in(self, *messages: Incoming) -> None:
        self.state = self.learner._work(self.state, [*messages])

    def save(self) -> None:
        self.learner.keep(self.state)
        save_checkpoint(
            self.home.checkpoint,
            Checkpoint(
                nodes=self.state.nodes,
                event=self.state.event,
                merges_pending=self.state.merges_pending,
                incarnation=self.incarnation,
                random_state=dict(np.random.default_rng(0).bit_generator.state),
                view=[],
            ),
            self.task,
        )

    def kill(self) -> None:
        """What has not been saved is lost; what was recorded is not."""
        self.records.close()


def gossip(peers: list[RecordingPeer], *, rounds: int, seed: int) -> None:
    """Let everybody push to somebody, with messages that overtake each other."""
    generator = np.random.default_rng(seed)
    under_way: list[tuple[RecordingPeer, Incoming]] = []
    for _ in range(rounds):
        for sender in generator.permutation(len(peers)):
            receiver = (sender + generator.integers(1, len(peers))) % len(peers)
            under_way.append((peers[receiver], peers[sender].message()))
            if generator.random() < 0.1:
                peers[sender].train_alone()
        while len(under_way) > generator.integers(0, 6):
            receiver, message = under_way.pop(int(generator.integers(len(under_way))))
            receiver.take_in(message)


def recorded_run(directory: Path, *, peers: int = 4, rounds: int = 8, seed: int = 0, **tables) -> list[Path]:
    """A network in which the second peer is killed after its checkpoint, and comes back."""
    network = [RecordingPeer(directory / f"peer-{i}", settings_of(i, **tables)) for i in range(peers)]
    gossip(network, rounds=rounds, seed=seed)
    network[1].save()
    gossip(network, rounds=rounds, seed=seed + 1)
    network[1].kill()
    network[1].start()
    gossip(network, rounds=rounds, seed=seed + 2)
    for peer in network:
        peer.save()
        peer.train_alone()  # after the last checkpoint: nobody ever sees it
        peer.kill()
    return [peer.home.directory for peer in network]


def rewrite(path: Path, change) -> None:
    """Replace the records in a file by ``change(records)``."""
    records = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(record) + "\n" for record in change(records)))
