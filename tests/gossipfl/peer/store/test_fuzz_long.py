"""Homes whose files were damaged: the peer starts, or says by name what is wrong."""

import json
import os
import random
import shutil

import pytest
import trio
from safetensors import safe_open
from safetensors.torch import load, save

from gossipfl.errors import GossipflError
from gossipfl.peer import Peer, read_records, read_status
from gossipfl.peer.store.checkpoint import _checksum
from tests.gossipfl.fuzzing import mutated, with_odd_value
from tests.gossipfl.network.helpers import until
from tests.integration.doors import settle
from tests.integration.peers import network_of, running

SCALE = float(os.environ.get("GOSSIPFL_FUZZ_SCALE", "1"))

pytestmark = [pytest.mark.slow, pytest.mark.timeout(0)]


async def make_home(directory):
    """The home of a member that has met another one."""
    async with network_of(directory / "network", 2) as peers:
        await until(lambda: all(peer.status().saved_age > 2 for peer in peers))
    home = peers[1].home
    settle(home.directory, "certificates")
    async with running(Peer(home.directory)) as [peer]:
        saved = peer.status().saved_age
        await until(lambda: peer.status().saved_age > saved)
    return home


def damage(dice, path):
    """Change a file: its bytes, or one of its values with everything else as it must be."""
    content = path.read_bytes()
    if path.suffix == ".json" and dice.random() < 0.7:
        path.write_text(json.dumps(with_odd_value(dice, json.loads(content))))
    elif path.suffix == ".safetensors" and dice.random() < 0.7:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata())
        tensors = load(content)
        metadata["state"] = json.dumps(with_odd_value(dice, json.loads(metadata["state"])))
        metadata["checksum"] = _checksum(tensors, metadata)
        path.write_bytes(save(tensors, metadata=metadata))
    else:
        path.write_bytes(mutated(dice, content) if dice.random() < 0.8 else b"")


async def start(home):
    """Run a peer until it takes part, or ends with a named error; what it says of itself can be read."""
    began = False
    try:
        peer = Peer(home)
        with trio.fail_after(30):
            async with running(peer):
                began = True
        read_status(peer.home.status)
        read_records(peer.home.records)
    except* GossipflError:
        pass
    return began


def test_damaged_homes(tmp_path):
    dice, count = random.Random(7), int(1_000 * SCALE)

    async def main():
        whole = await make_home(tmp_path)
        names = sorted(
            path.relative_to(whole.directory) for path in whole.directory.rglob("*") if path.is_file()
        )
        started, refused = 0, set()
        for number in range(count):
            home = tmp_path / f"home-{number}"
            shutil.copytree(whole.directory, home)
            name = dice.choice(names)
            damage(dice, home / name)
            try:
                if await start(home):
                    started += 1
                else:
                    refused.add(name.name)
            except BaseException as error:
                error.add_note(f"{name} is {(home / name).read_bytes()[:2000]!r}")
                raise
            shutil.rmtree(home)
        return names, started, refused

    names, started, refused = trio.run(main)
    print(f"{count} damaged homes of {len(names)} files: {started} peers started; refused: {sorted(refused)}")
    assert started
    assert refused
