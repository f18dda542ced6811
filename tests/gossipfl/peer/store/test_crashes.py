"""A peer's home after a crash at any instant, and on a disk that refuses any write: nothing promised is lost."""

import errno
import shutil
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from gossipfl.errors import GossipflError, HomeError
from gossipfl.files import write_atomically
from gossipfl.network import load_identity, load_or_create_identity
from gossipfl.peer import Home, read_records
from gossipfl.peer.status import read_status
from gossipfl.peer.store.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from gossipfl.peer.store.ports import recall_ports, remember_ports
from gossipfl.peer.store.record_files import SUMMARY, read_summary
from gossipfl.peer.store.records import RecordWriter
from gossipfl.settings import RecordsSettings, load_settings
from gossipfl.training import Nodes
from tests.gossipfl.peer.store.crashes import (
    RecordingDisk,
    tree_after,
    tree_of,
    trees_after_crashes,
    write_tree,
)
from tests.integration.peers import quick_settings
from tests.integration.tasks import blobs

TASK = blobs()
ROW = TASK.initial_row(0)


def checkpoint(event: int, *, incarnation: int) -> Checkpoint:
    return Checkpoint(
        nodes=Nodes.start(ROW[None] + event),
        event=event,
        merges_pending=0,
        incarnation=incarnation,
        random_state=dict(np.random.default_rng(0).bit_generator.state),
        view=[],
    )


#: A file for every two records or so, of which two are kept.
TINY = RecordsSettings(file_megabytes=2e-4, keep_megabytes=4e-4)


class Life:
    """What the store does in the life of a peer, with a word on each thing that its callers take for done."""

    def __init__(self, disk: RecordingDisk, *, records: RecordsSettings | None = None) -> None:
        self.disk = disk
        self.records = records
        self.home = Home(disk.root / "alice")
        self.event = 0

    def make(self) -> None:
        self.home.create(quick_settings())
        self.disk.promise("peer", load_or_create_identity(self.home.directory).peer_id)

    def start(self) -> None:
        """One start, which ends without a farewell."""
        with self.home.locked():
            incarnation = self.home.next_incarnation(now=0)
            self.disk.promise("incarnation", incarnation)
            remember_ports(self.home.ports, {"/ip4/127.0.0.1/tcp/0": 4000 + incarnation})
            records = RecordWriter(self.home.records, incarnation=incarnation, settings=self.records)
            try:
                for _ in range(2):
                    for _ in range(2):
                        self.event += 1
                        records.append({"kind": "train", "event": self.event, "text": "x" * 50})
                    write_atomically(self.home.status, b'{"event": %d}' % self.event, durable=False)
                    with suppress(OSError):
                        self.save(records, incarnation)
            finally:
                records.close()

    def save(self, records: RecordWriter, incarnation: int) -> None:
        records.synchronise()
        save_checkpoint(self.home.checkpoint, checkpoint(self.event, incarnation=incarnation), TASK)
        self.disk.promise("saved", (incarnation, self.event))
        records.remove_old()

    def all(self, *, starts: int = 2) -> None:
        for step in (self.make, *[self.start] * starts):
            with suppress(OSError, HomeError):
                step()


def require_sound(root: Path, promised: dict[str, list], *, lost_records: bool = False) -> None:
    """Start from what is there, as a peer does, and require that all that was promised is there."""
    home = Home(root / "alice")
    if not home.settings.exists():
        assert "peer" not in promised
        home.create(quick_settings())  # what a crash left of a home is no obstacle
    load_settings(home.settings)
    with home.locked():
        peer_id = load_or_create_identity(home.directory).peer_id
        assert promised.get("peer", [peer_id])[-1] == peer_id
        newest = (0, 0)
        if home.checkpoint.exists():
            saved = load_checkpoint(home.checkpoint, TASK, optimiser_state_size=0)
            newest = (saved.incarnation, saved.event)
            assert torch.equal(saved.nodes.rows[0], ROW + saved.event)
        assert newest >= promised.get("saved", [(0, 0)])[-1]
        incarnation = home.next_incarnation(now=0)
        assert incarnation > max(promised.get("incarnation", [0]))
        records = RecordWriter(home.records, incarnation=incarnation)
        records.append({"kind": "train", "event": -1})
        records.close()
        table = read_records(home.records)
        events = table.filter((table["event"] >= 0) & (table["kind"] == "train"))["event"].to_list()
        removed = [each["event"][1] for each in read_summary(home.records)]
        events = [event for event in range(1, max(removed, default=0) + 1) if event not in events] + events
        if not lost_records:
            assert all(after == before + 1 for before, after in pairwise([0, *events]))  # no hole
            assert not newest[1] or newest[1] in events  # a checkpoint never knows more than the records
    recall_ports(home.ports)
    with suppress(HomeError):
        read_status(home.status)
    left = [path.name for path in home.directory.rglob(".*")]
    assert not left, f"temporary files are left: {left}"


def test_the_disk_sees_every_change(tmp_path, monkeypatch):
    """Or else the tests below would miss crashes."""
    disk = RecordingDisk(tmp_path / "real")
    disk.root.mkdir()
    with disk.watching(monkeypatch):
        Life(disk, records=TINY).all()
    assert (disk.root / "alice" / "records" / SUMMARY).exists()
    assert tree_after([each for each in disk.operations if hasattr(each, "owner")]) == tree_of(disk.root)
    assert len(load_identity(disk.root / "alice").peer_id) > 40


@pytest.mark.parametrize(
    ("starts", "records"),
    [(1, None), *(pytest.param(*each, marks=pytest.mark.slow) for each in ((1, TINY), (3, None), (3, TINY)))],
)
def test_any_crash_leaves_a_home_that_starts_and_holds_what_was_promised(
    tmp_path, monkeypatch, starts, records
):
    disk = RecordingDisk(tmp_path / "real")
    disk.root.mkdir()
    with disk.watching(monkeypatch):
        Life(disk, records=records).all(starts=starts)
    monkeypatch.setattr("os.fsync", lambda _: None)  # thousands of them would take minutes
    after_crashes = list(trees_after_crashes(disk.operations))
    assert len(after_crashes) > 100
    for tree, promised in after_crashes:
        root = tmp_path / "after"
        write_tree(root, tree)
        try:
            require_sound(root, promised)
        except (AssertionError, GossipflError) as error:
            shown = {name: None if content is None else content[:80] for name, content in tree.items()}
            raise AssertionError(f"after {promised}: {shown}") from error
        shutil.rmtree(root)


@pytest.mark.parametrize("error", [errno.ENOSPC, pytest.param(errno.EROFS, marks=pytest.mark.slow)])
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
def test_a_disk_that_refuses_any_change_costs_nothing_that_was_promised(
    tmp_path, monkeypatch, error, lasting
):
    number, was_refused = 0, True
    while was_refused:

        def refuses(n, number=number):
            return n >= number if lasting else n == number

        root = tmp_path / "real"
        disk = RecordingDisk(root, refuses=refuses, error=error)
        root.mkdir()
        with disk.watching(monkeypatch):
            Life(disk).all(starts=1)
        was_refused = disk.asked > number
        promised: dict[str, list] = {}
        for each in disk.operations:
            if hasattr(each, "what"):
                promised.setdefault(each.what, []).append(each.value)
        with monkeypatch.context() as quick:
            quick.setattr("os.fsync", lambda _: None)
            require_sound(root, promised, lost_records=True)
        shutil.rmtree(root)
        number += 1
    assert number > 30
