"""The key of a peer and the directory that keeps it."""

import base64
import stat
import threading

import base58
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gossipfl.errors import CorruptIdentity, HomeError
from gossipfl.network.identity import KEY_FILE, Identity, load_identity, load_or_create_identity


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_an_identity_is_made_once_and_kept(tmp_path):
    home = tmp_path / "peer"
    first = load_or_create_identity(home)
    assert load_or_create_identity(home) == first == load_identity(home)
    assert load_or_create_identity(tmp_path / "another").peer_id != first.peer_id
    assert mode_of(home) == 0o700
    assert mode_of(home / KEY_FILE) == 0o600
    assert [path.name for path in home.iterdir()] == [KEY_FILE]


def test_a_peer_id_is_the_multihash_of_the_public_key():
    identity = Identity.generate()
    public = Ed25519PrivateKey.from_private_bytes(identity.seed).public_key().public_bytes_raw()
    protobuf = b"\x08\x01\x12\x20" + public
    assert identity.peer_id == base58.b58encode(b"\x00\x24" + protobuf).decode()


def test_the_secret_is_not_shown():
    identity = Identity.generate()
    shown = repr(identity)
    for encoded in (repr(identity.seed), identity.seed.hex(), base64.b64encode(identity.seed).decode()):
        assert encoded not in shown
    assert identity.peer_id in shown


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o602])
def test_a_key_open_to_others_is_refused(tmp_path, mode):
    home = tmp_path / "peer"
    load_or_create_identity(home)
    (home / KEY_FILE).chmod(mode)
    with pytest.raises(CorruptIdentity, match=f"{mode:04o}.*chmod 600"):
        load_or_create_identity(home)


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o701])
def test_a_directory_open_to_others_is_refused(tmp_path, mode):
    home = tmp_path / "peer"
    load_or_create_identity(home)
    home.chmod(mode)
    with pytest.raises(CorruptIdentity, match=f"{mode:04o}.*chmod 700"):
        load_identity(home)


def test_no_key_is_put_into_a_directory_open_to_others(tmp_path):
    home = tmp_path / "peer"
    home.mkdir(mode=0o755)
    with pytest.raises(CorruptIdentity, match="accessible to other users"):
        load_or_create_identity(home)
    assert not list(home.iterdir())


@pytest.mark.parametrize(
    "damage", [lambda c: c[:-1], lambda c: c + b"\0", lambda c: b"", lambda c: b"x" + c[1:]]
)
def test_a_damaged_key_is_refused_and_not_replaced(tmp_path, damage):
    home = tmp_path / "peer"
    load_or_create_identity(home)
    damaged = damage((home / KEY_FILE).read_bytes())
    (home / KEY_FILE).write_bytes(damaged)
    with pytest.raises(CorruptIdentity, match=r"damaged.*backup"):
        load_or_create_identity(home)
    assert (home / KEY_FILE).read_bytes() == damaged


def test_no_identity_to_load(tmp_path):
    with pytest.raises(CorruptIdentity, match="no identity"):
        load_identity(tmp_path)


@pytest.mark.parametrize("place", ["file/alice", "file"])
def test_a_place_where_no_identity_can_be_kept_is_named(tmp_path, place):
    (tmp_path / "file").touch()
    with pytest.raises(HomeError, match=r"an identity cannot be stored in.*(Not a directory|File exists)"):
        load_or_create_identity(tmp_path / place)


def test_a_secret_of_a_wrong_length():
    with pytest.raises(CorruptIdentity, match="32 bytes"):
        Identity(b"short")


def test_those_who_create_at_the_same_time_agree(tmp_path):
    home = tmp_path / "peer"
    made, barrier = [], threading.Barrier(8)

    def create():
        barrier.wait()
        made.append(load_or_create_identity(home))

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({identity.peer_id for identity in made}) == 1
    assert [path.name for path in home.iterdir()] == [KEY_FILE]
