"""Models computed again from records are those that the peers' own code had made."""

import pytest
import torch

from gossipfl.errors import CorruptCheckpoint, HomeMissing
from gossipfl.peer.store.record_files import remove_old
from sims.errors import NotSimulable
from sims.replay import replay
from sims.replay.errors import (
    DuplicatePeer,
    MissingCheckpoint,
    MissingPeer,
    MissingRecords,
    OtherSettings,
    OtherTask,
    RecordsRemoved,
    TornRecords,
)
from sims.replay.history import history_of
from sims.replay.lives import Version
from sims.replay.peer_records import read_peers

from .recorded import RecordingPeer, gossip, recorded_run, rewrite, settings_of

VARIANTS = {
    "plain": {},
    "momentum, float16": {"training": {"momentum": 0.9, "clip_norm": 1.0}, "exchange": {"codec": "float16"}},
    "UM, several steps": {"gossip": {"merge": "UM"}, "training": {"local_steps": 3, "batch_size": 7}},
    "RW, bfloat16": {"gossip": {"merge": "RW", "weighting": "plain"}, "exchange": {"codec": "bfloat16"}},
    "8 bits": {"exchange": {"codec": "int8"}},
    "random rounding": {"exchange": {"codec": "qsgd:127:16"}},
}


#: A number on the edge of two levels may be rounded to the other one when rows are computed together.
OF_FEW_LEVELS = ("int8", "qsgd:127:16")


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """As peers have; two threads for such small models only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def homes(tmp_path_factory):
    return recorded_run(tmp_path_factory.mktemp("run"), training={"momentum": 0.5})


@pytest.fixture
def copies(tmp_path):
    """A run of its own for a test that damages it."""
    return recorded_run(tmp_path, rounds=3)


@pytest.mark.parametrize("tables", VARIANTS.values(), ids=VARIANTS)
def test_rows_are_identical_and_batches_close(tmp_path, tables):
    places = recorded_run(tmp_path, **tables)
    by_row, batched = replay(places), replay(places, batched=True)
    assert by_row.equal
    assert [peer.verdict for peer in by_row.peers] == ["identical"] * 4
    assert by_row.notes == ()
    if tables.get("exchange", {}).get("codec") not in OF_FEW_LEVELS:
        assert batched.equal
        assert max(peer.max_relative for peer in batched.peers) <= 1e-5
    assert max(peer.max_relative for peer in batched.peers) <= 0.01
    assert 0 < batched.waves < batched.events == by_row.events


def test_a_killed_start_counts_as_far_as_others_heard_of_it(homes):
    report = replay(homes)
    killed = report.peers[1]
    assert killed.starts == 2
    assert killed.left_out >= 1
    # What it did between its checkpoint and its end is needed only because others merged it.
    peers = read_peers(homes)
    life = peers[1].lives[1]
    resumed = peers[1].lives[2].resumed
    assert resumed == Version(peers[1].peer, 1, peers[1].lives[2].first)
    heard = max(
        event.source.event
        for peer in (peers[0], *peers[2:])
        for event in peer.lives[1].events
        if event.source is not None and event.source[:2] == (life.peer, 1)
    )
    assert resumed.event < heard <= life.last


def test_trainings_after_the_last_checkpoint_are_left_out(homes):
    report = replay(homes)
    recorded = sum(len(life.events) for peer in read_peers(homes) for life in peer.lives.values())
    assert all(peer.left_out >= 1 for peer in report.peers)
    assert report.events == recorded - sum(peer.left_out for peer in report.peers)


def test_steps_come_after_what_they_need(homes):
    peers = read_peers(homes)
    targets = [Version(peer.peer, max(peer.lives), peer.lives[max(peer.lives)].last - 1) for peer in peers]
    history = history_of(reversed(peers), targets)
    made = set()
    for step in history.steps:
        assert step.source is None or step.source in made
        if step.event is not None:
            assert step.version._replace(event=step.version.event - 1) in made
        made.add(step.version)
    assert made >= set(targets)


def test_a_changed_model_is_found_out_and_the_first_departure_named(copies):
    def with_another_loss(records):
        trained = next(record for record in records if record.get("trained"))
        trained["loss"] += 0.25
        return records

    rewrite(copies[2] / "records/000001.jsonl", with_another_loss)
    (note,) = replay(copies).notes
    assert "start 1 of peer" in note

    def without_codec_loss(records):
        return [{**record, "codec": "bfloat16"} if "codec" in record else record for record in records]

    rewrite(copies[2] / "records/000001.jsonl", without_codec_loss)
    for batched in (False, True):
        report = replay(copies, batched=batched)
        assert not report.equal
        assert "differs" in {peer.verdict for peer in report.peers}


def test_what_was_drawn_when_a_message_was_encoded_is_drawn_again(tmp_path):
    """The message's number is part of the records: with another one, the rounding is another."""
    places = recorded_run(tmp_path, rounds=3, exchange={"codec": "qsgd:15:8"})
    assert replay(places).equal

    def with_other_numbers(records):
        numbered = [record for record in records if "sender_sequence" in record]
        assert len({record["sender_sequence"] for record in numbered}) > 1
        return [
            {**record, "sender_sequence": 1000} if "sender_sequence" in record else record
            for record in records
        ]

    rewrite(places[2] / "records/000001.jsonl", with_other_numbers)
    assert not replay(places).equal


def test_records_of_before_messages_were_numbered_are_replayed(tmp_path):
    places = recorded_run(tmp_path, rounds=3, exchange={"codec": "bfloat16"})
    for place in places:
        for file in (place / "records").glob("*.jsonl"):
            rewrite(
                file,
                lambda records: [
                    {key: value for key, value in record.items() if key != "sender_sequence"}
                    for record in records
                ],
            )
    assert replay(places).equal


def test_a_model_that_diverged_and_was_healed_is_replayed(tmp_path):
    def settings(index):
        options = {"index": index, "outlier": index == 1}
        return settings_of(
            index,
            task={"name": "tests.integration.tasks:regression", "options": options},
            training={"batch_size": 8, "learning_rate": 0.01, "momentum": 0.5},
            exchange={"merges_per_training": 1, "codec": "bfloat16"},
        )

    network = [RecordingPeer(tmp_path / f"{i}", settings(i)) for i in range(3)]
    for seed in range(3):
        gossip(network, rounds=6, seed=seed)
        network[1].save()
    while network[1].state.has_gone_back or network[1].learner.divergences < 4:
        network[1].take_in(network[0].message())
        network[0].take_in(network[1].message())
    for peer in network:
        peer.save()
    places = [peer.home.directory for peer in network]
    kinds = {event.kind for event in read_peers(places)[1].lives[1].events}
    assert kinds >= {"merge", "adopt", "go_back"}
    for batched in (False, True):
        report = replay(places, batched=batched)
        assert report.equal, report
        assert report.notes == ()


def test_the_tolerance_decides(homes):
    assert not replay(homes, batched=True, tolerance=1e-12).equal


def test_settings_that_changed_between_starts_are_followed(tmp_path):
    peers = [RecordingPeer(tmp_path / f"{i}", settings_of(i)) for i in (0, 1)]
    peers[0].take_in(peers[1].message())
    peers[0].train_alone()
    peers[0].save()
    peers[0].kill()
    peers[0].settings = settings_of(0, training={"momentum": 0.9, "learning_rate": 0.01})
    peers[0].trainer = type(peers[0].trainer).of(
        peers[0].task, peers[0].trainer.data, peers[0].settings.training
    )
    peers[0].start()
    peers[0].train_alone()
    peers[1].take_in(peers[0].message(), peers[0].message())
    for peer in peers:
        peer.save()
    places = [peer.home.directory for peer in peers]
    assert [peer.verdict for peer in replay(places).peers] == ["identical"] * 2
    assert replay(places, batched=True).equal


def test_a_peer_without_checkpoint_is_said_to_have_none(tmp_path):
    peers = [RecordingPeer(tmp_path / f"{i}", settings_of(i)) for i in (0, 1)]
    peers[0].take_in(peers[1].message())
    places = [peer.home.directory for peer in peers]
    with pytest.raises(MissingCheckpoint, match="none of the peers has a checkpoint"):
        replay(places)
    peers[0].save()
    assert [peer.verdict for peer in replay(places).peers] == ["identical", "no checkpoint"]
    assert replay(places).to_dict()["peers"][1]["max_relative"] is None


# Bad input


def test_no_peers_no_home_no_records(tmp_path, copies):
    with pytest.raises(MissingRecords, match="no peer was named"):
        replay([])
    with pytest.raises(HomeMissing):
        replay([tmp_path / "nowhere"])
    (copies[0] / "records/000001.jsonl").unlink()
    with pytest.raises(MissingRecords, match="without records"):
        replay(copies)


def test_a_missing_peer_is_named(copies):
    missing = read_peers(copies)[3].peer
    with pytest.raises(MissingPeer, match=missing):
        replay(copies[:3])


def test_the_same_peer_twice(copies):
    with pytest.raises(DuplicatePeer):
        replay([*copies, copies[0]])


def test_a_start_without_records_that_others_depend_on(copies):
    (copies[1] / "records/000001.jsonl").unlink()
    with pytest.raises(TornRecords, match=r"000001\.jsonl"):
        replay(copies)


def test_records_in_many_files_are_one(tmp_path):
    homes = recorded_run(tmp_path, records={"file_megabytes": 2e-3})
    assert all(len(list((home / "records").glob("*.jsonl"))) > 3 for home in homes)
    assert replay(homes).equal


def test_removed_records_are_named_with_what_is_left(tmp_path):
    homes = recorded_run(tmp_path, records={"file_megabytes": 4e-3})
    assert replay(homes).equal
    records = homes[2] / "records"
    removed = remove_old(records, keep_bytes=0, keep_days=1.0)
    assert removed
    [*_, life] = read_peers(homes)[2].lives.values()
    assert not life.is_whole
    with pytest.raises(RecordsRemoved, match="were removed to make room") as refused:
        replay(homes)
    assert f"events {life.first + 1} to {life.last} of start {life.incarnation}" in str(refused.value)
    assert f"all of peer {read_peers(homes)[0].peer}" in str(refused.value)
    assert "records.keep_megabytes" in str(refused.value)


def test_records_cut_short(copies):
    rewrite(copies[2] / "records/000001.jsonl", lambda records: records[:4])
    with pytest.raises(TornRecords, match="is not recorded"):
        replay(copies)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda records: records[1:], "does not begin with the start"),
        (lambda records: [*records[:3], *records[4:]], "an event is missing"),
        (lambda records: [{"kind": "merge"}, *records], "does not begin"),
        (lambda records: [records[0], {"kind": "train"}], "is not a record"),
        (lambda records: [{"kind": "start"}], "is not a record|no start"),
        (lambda records: [{**records[0], "threads": None}, *records[1:]], "not a start of a peer"),
        (lambda records: [*records[:2], {**records[2], "age": 77}, *records[3:]], "age at"),
    ],
)
def test_damaged_records(copies, change, complaint):
    rewrite(copies[0] / "records/000001.jsonl", change)
    with pytest.raises(TornRecords, match=complaint):
        replay(copies)


def test_a_line_that_is_no_json_is_named(copies):
    path = copies[0] / "records/000001.jsonl"
    path.write_text(path.read_text().replace('{"kind":"merge"', "{merge", 1))
    with pytest.raises(TornRecords, match=r"000001\.jsonl:\d+ is not a record"):
        replay(copies)


def test_a_torn_last_line_is_left_out(copies):
    with (copies[0] / "records/000001.jsonl").open("a") as file:
        file.write('{"kind":"merge","event":')
    assert replay(copies).equal


def test_records_that_contradict_each_other(copies):
    ids = [peer.peer for peer in read_peers(copies)]

    def taken_from(sender):
        def change(records):
            events = [record for record in records if record["kind"] == "merge"]
            first = min(events, key=lambda record: record["event"])
            first.update(sender=sender, sender_incarnation=1, sender_event=first["event"] + 1)
            return records

        return change

    rewrite(copies[0] / "records/000001.jsonl", taken_from(ids[2]))
    rewrite(copies[2] / "records/000001.jsonl", taken_from(ids[0]))
    with pytest.raises(TornRecords, match="contradict"):
        replay(copies)


def test_another_task(tmp_path, copies):
    other = RecordingPeer(
        tmp_path / "other",
        settings_of(9, task={"name": "tests.integration.tasks:blobs", "options": {"hidden": 5}}),
    )
    other.save()
    with pytest.raises(OtherTask, match="did not learn the same task"):
        replay([*copies, other.home.directory])
    for home in copies:
        for path in (home / "records").glob("*.jsonl"):
            path.write_text(path.read_text().replace('"task":"', '"task":"00'))
    with pytest.raises(OtherTask, match="is not the one peer"):
        replay(copies)


def test_settings_of_another_version(copies):
    path = copies[0] / "records/000001.jsonl"
    path.write_text(path.read_text().replace('\\"merge\\":', '\\"blend\\":', 1))
    with pytest.raises(OtherSettings, match="gossip"):
        replay(copies)


def test_a_damaged_checkpoint(copies):
    path = copies[0] / "checkpoint.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptCheckpoint):
        replay(copies)


def test_samples_of_different_shapes_are_not_batched(tmp_path):
    task = {"name": "tests.sims.replay.ragged:lengths"}
    peers = [
        RecordingPeer(tmp_path / f"{i}", settings_of(i, task={**task, "options": {"length": 3 + i}}))
        for i in (0, 1)
    ]
    peers[0].take_in(peers[1].message(), peers[1].message())
    for peer in peers:
        peer.save()
    places = [peer.home.directory for peer in peers]
    assert replay(places).equal
    with pytest.raises(NotSimulable, match="cannot be batched"):
        replay(places, batched=True)


def rounded(records, by):
    """Records of a start on a GPU, whose losses were rounded otherwise."""
    losses = {id(each): each["loss"] for each in records if each.get("loss")}
    start = {**records[0], "device": "cuda:0", "hardware": "a GPU"}
    return [
        start,
        *(
            {**each, "loss": losses[id(each)] * (1 + by)} if id(each) in losses else each
            for each in records[1:]
        ),
    ]


def test_a_run_on_a_gpu_is_replayed_within_a_tolerance_that_is_named(copies):
    rewrite(copies[0] / "records/000001.jsonl", lambda records: rounded(records, 1e-6))
    report = replay(copies)
    assert (report.tolerance, report.equal) == (1e-4, True)
    [note] = report.notes
    assert "peers computed on cuda:0 (a GPU), and this replay on the CPU" in note
    assert "agree within 0.0001 of their largest parameter, not bit for bit" in note
    rewrite(copies[0] / "records/000001.jsonl", lambda records: rounded(records, 1e-3))
    assert any("the replay left the run" in note for note in replay(copies).notes)


def test_rows_are_computed_with_the_threads_of_the_peer(copies, monkeypatch):
    for home in copies:
        for path in (home / "records").glob("*.jsonl"):
            path.write_text(path.read_text().replace('"threads":1', '"threads":3'))
    asked = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    replay(copies)
    assert 3 in asked


def test_torch_keeps_its_threads(homes):
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        replay(homes)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
