"""Backups: taken while a peer runs, restored whole or refused with all that is broken named."""

import io
import json
import tarfile

import pytest

from gossipfl.errors import CorruptBackup, HomeError, HomeExists, HomeMissing
from gossipfl.network import load_identity
from gossipfl.peer import Home, Peer, read_records
from gossipfl.peer.store.backup import MANIFEST, back_up
from gossipfl.peer.store.checkpoint import read_row
from gossipfl.peer.store.restoring import restore
from gossipfl.peer.store.versions import read_facts
from tests.gossipfl.cli.test_main import cli
from tests.gossipfl.network.helpers import in_trio, until
from tests.integration.peers import quick_settings, records_of, running

__all__ = ["cli"]


@pytest.fixture
def old_home(tmp_path):
    """A home with all kinds of files."""
    home = Home(tmp_path / "alice")
    home.create(quick_settings())
    load_identity_of(home)
    (home.records / "000001.jsonl").write_text('{"kind":"train","event":1}\n')
    (home.directory / "mine").mkdir()
    (home.directory / "mine" / "task.py").write_text("# a module of one's own\n")
    (home.directory / "elsewhere").symlink_to("/etc/hostname")
    (home.directory / ".status.json.0123abcd").write_text("left by a crash")
    return home


def load_identity_of(home):
    from gossipfl.network import load_or_create_identity

    return load_or_create_identity(home.directory)


def files_of(directory):
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


def rewritten(file, change, *, manifest=lambda said: said):
    """Write a backup again, its entries changed by name; None leaves one out."""
    with tarfile.open(file) as archive:
        entries = {entry.name: archive.extractfile(entry).read() for entry in archive}
    said = manifest(json.loads(entries.pop(MANIFEST)))
    with tarfile.open(file, "w:gz") as archive:
        for name, content in [*change(entries).items(), (MANIFEST, said and json.dumps(said).encode())]:
            if content is not None:
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))


def test_a_backup_holds_everything_and_only_its_owner_may_read_it(old_home, tmp_path):
    old_home.status.write_text("{}")
    made = back_up(old_home, tmp_path / "alice.tar.gz")
    assert (tmp_path / "alice.tar.gz").stat().st_mode & 0o777 == 0o600
    assert made.left_out == ("elsewhere",)
    assert made.size == (tmp_path / "alice.tar.gz").stat().st_size
    manifest = restore(tmp_path / "alice.tar.gz", tmp_path / "deep" / "again")
    assert manifest["peer_id"] == made.peer_id == load_identity(tmp_path / "deep" / "again").peer_id
    before, after = files_of(old_home.directory), files_of(tmp_path / "deep" / "again")
    facts = json.loads(after.pop("home.json"))
    assert facts["restored"]["made"] == made.made
    for passing in ("status.json", ".status.json.0123abcd", "elsewhere", "home.json"):
        del before[passing]
    assert after == before
    assert all(
        path.stat().st_mode & 0o077 == 0
        for path in [*(tmp_path / "deep" / "again").rglob("*"), tmp_path / "deep"]
    )
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["again"]


def test_nothing_is_overwritten(old_home, tmp_path):
    file = tmp_path / "alice.tar.gz"
    back_up(old_home, file)
    content = file.read_bytes()
    with pytest.raises(HomeExists, match=r"alice\.tar\.gz already exists"):
        back_up(old_home, file)
    before = files_of(old_home.directory)
    with pytest.raises(HomeExists, match="Name a directory that does not exist"):
        restore(file, old_home.directory)
    assert (file.read_bytes(), files_of(old_home.directory)) == (content, before)
    (tmp_path / "empty").mkdir()
    restore(file, tmp_path / "empty")
    Home(tmp_path / "empty").require()


def test_what_is_no_home_is_not_saved(tmp_path):
    with pytest.raises(HomeMissing):
        back_up(Home(tmp_path), tmp_path / "b.tar.gz")
    with pytest.raises(HomeError, match="No such file"):
        restore(tmp_path / "nothing", tmp_path / "home")


BREAKS = {
    "a changed key": (
        lambda e: {**e, "identity.key": b"x"},
        ["identity.key has a different checksum", "key file"],
    ),
    "lost settings": (lambda e: {**e, "peer.toml": None}, ["peer.toml is missing", "holds no peer"]),
    "two parts": (
        lambda e: {**e, "peer.toml": e["peer.toml"] + b"\n", "mine/task.py": None},
        ["peer.toml has a different checksum", "mine/task.py is missing"],
    ),
    "one more": (lambda e: {**e, "extra": b"1"}, ["extra is not in the manifest"]),
    "a way out": (lambda e: {**e, "../outside": b"1"}, ["'../outside' is not part of a home"]),
    "an absolute way": (lambda e: {**e, "/tmp/outside": b"1"}, ["'/tmp/outside' is not part of a home"]),
}


@pytest.mark.parametrize("name", BREAKS)
def test_everything_broken_is_named_and_nothing_is_made(old_home, tmp_path, name):
    change, parts = BREAKS[name]
    file = tmp_path / "b.tar.gz"
    back_up(old_home, file)
    rewritten(file, change)
    with pytest.raises(CorruptBackup) as refused:
        restore(file, tmp_path / "new" / "home")
    for part in parts:
        assert part in str(refused.value)
    assert list((tmp_path / "new").iterdir()) == []
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize(
    ("manifest", "part"),
    [
        (lambda said: None, "MANIFEST.json, its last part, is missing"),
        (lambda said: {**said, "format": "gossipfl backup 9"}, "expected format 'gossipfl backup 1'"),
        (lambda said: {"format": said["format"]}, "its manifest is damaged"),
        (lambda said: [said], "its manifest is damaged"),
    ],
)
def test_a_manifest_that_is_none_is_named(old_home, tmp_path, manifest, part):
    file = tmp_path / "b.tar.gz"
    back_up(old_home, file)
    rewritten(file, lambda entries: entries, manifest=manifest)
    with pytest.raises(CorruptBackup, match=part):
        restore(file, tmp_path / "home")


def test_what_is_no_backup_is_not_called_a_damaged_one(tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("milk, bread")
    with pytest.raises(CorruptBackup, match="is not a backup"):
        restore(file, tmp_path / "home")


def test_a_backup_cannot_be_in_the_home_that_it_is_of(old_home):
    for file in (old_home.directory / "b.tar.gz", old_home.directory / "mine" / ".." / "mine" / "b.tar.gz"):
        with pytest.raises(HomeError, match="cannot be in the home"):
            back_up(old_home, file)


def test_a_backup_cut_short_or_with_a_flipped_bit_anywhere_is_refused(old_home, tmp_path):
    file = tmp_path / "b.tar.gz"
    back_up(old_home, file)
    whole = file.read_bytes()
    restore(file, tmp_path / "unharmed")
    expected = {**files_of(tmp_path / "unharmed"), "home.json": b""}
    step = max(1, len(whole) // 40)
    for position in range(0, len(whole), step):
        flipped = bytearray(whole)
        flipped[position] ^= 0x10
        for content in (whole[:position], bytes(flipped)):
            file.write_bytes(content)
            try:
                restore(file, tmp_path / "home")
            except CorruptBackup:
                assert not (tmp_path / "home").exists()
            else:  # what is broken says nothing, such as the time of compression, or comes after all parts
                restored = files_of(tmp_path / "home")
                assert {**restored, "home.json": b""} == expected
                (tmp_path / "home").rename(tmp_path / f"whole {position} of {len(content)}")
    assert len(list(tmp_path.glob("whole *"))) < 5


@in_trio
async def test_a_running_peer_is_saved_and_goes_on_from_there(tmp_path, cli):
    hub = Peer(tmp_path / "hub", settings=quick_settings(0, exchange={"patience": 1000.0}))
    async with running(hub):
        settings = quick_settings(1, bootstrap=hub.status().addresses, exchange={"patience": 1000.0})
        alice = Peer(tmp_path / "alice", settings=settings)
        async with running(alice):
            for number in range(5):
                await until(lambda: alice.status().saved_age > 0)
                back_up(alice.home, tmp_path / f"{number}.tar.gz")
        for number in range(5):
            home = Home(tmp_path / f"restored {number}")
            restore(tmp_path / f"{number}.tar.gz", home.directory)
            age = read_row(home.checkpoint)[1]
            ages = [each["age"] for each in read_records(home.records).to_dicts() if each["kind"] == "merge"]
            assert age in ages  # all that led to the checkpoint is there
        peer_id = alice.status().peer_id
        restored = Peer(home.directory)
        async with running(restored):
            [condition] = restored.status().conditions
            assert condition["name"] == "restored"
            assert "everything learned since then is lost" in condition["text"]
            number = restored.status().incarnation
            await until(
                lambda: any(
                    each["sender"] == peer_id and each["sender_incarnation"] == number
                    for each in records_of(hub.home, "merge")
                )
            )
        assert "restored" not in read_facts(home)


def test_the_commands_save_restore_and_say_so(cli, old_home, tmp_path):
    file, again = tmp_path / "alice.tar.gz", tmp_path / "again"
    code, out, _ = cli("peer", "backup", old_home.directory, file)
    assert code == 0
    assert "its key among them" in out
    assert "Left out, for it is not a file: elsewhere" in out
    code, out, _ = cli("peer", "restore", file, again)
    assert code == 0
    assert f"gossipfl peer run --home {again}" in out
    code, out, err = cli("peer", "restore", file, again)
    assert (code, out) == (2, "")
    assert "already exists" in err
    code, out, _ = cli("peer", "backup", again, tmp_path / "b", "--json")
    assert json.loads(out)["peer_id"] == load_identity(again).peer_id


def test_what_is_typed_is_in_no_backup(old_home, tmp_path):
    from gossipfl.keyboard.store import TypingStore

    store = TypingStore(old_home.typing)
    store.write(0, "typed")
    store.close()
    back_up(old_home, tmp_path / "backup")
    with tarfile.open(tmp_path / "backup") as archive:
        assert not [name for name in archive.getnames() if "typing" in name or "key-" in name]
