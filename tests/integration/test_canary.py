"""Raw data never leaves: a value planted in the data is in no byte that two peers hand to the network.

The import contracts say that the network cannot reach the data. This looks at the bytes themselves, before
they are encrypted, of two peers that learn from each other with all kinds of message.
"""

import struct

import pytest
import torch

from gossipfl.network.noise.transport import RecordSealer
from gossipfl.network.noise.upgrade import _PlainChannel
from tests.gossipfl.network.helpers import in_trio, until

from .peers import network_of

#: So small that training passes over it unharmed, and no weight or checksum is likely to look like it.
CANARY = struct.unpack("<f", struct.pack("<f", 1.2345678e-30))[0]


def forms(value):
    """What the value could look like on its way out."""
    return {
        "float32 little-endian": struct.pack("<f", value),
        "float32 big-endian": struct.pack(">f", value),
        "float64 little-endian": struct.pack("<d", value),
        "float64 big-endian": struct.pack(">d", value),
        "text": repr(value).encode(),
        "short text": f"{value:.6g}".encode(),
        "shorter text": f"{value:.4g}".encode(),
        "hexadecimal": struct.pack("<f", value).hex().encode(),
        "hexadecimal float": value.hex().encode(),
    }


@pytest.fixture
def handed_over(monkeypatch):
    """All plaintext that any host of this program hands to encryption or, in handshakes, to the socket."""
    collected = bytearray()
    seal, write = RecordSealer.seal, _PlainChannel.write

    def noting_seal(self, pieces, out):
        for piece in pieces:
            collected.extend(piece)
        return seal(self, pieces, out)

    async def noting_write(self, data):
        collected.extend(data)
        await write(self, data)

    monkeypatch.setattr(RecordSealer, "seal", noting_seal)
    monkeypatch.setattr(_PlainChannel, "write", noting_write)
    return collected


@pytest.mark.parametrize("codec", ["float32", "bfloat16"])
@in_trio
async def test_a_planted_value_never_leaves(tmp_path, handed_over, codec):
    async with network_of(tmp_path, 2, options={"planted": CANARY}, exchange={"codec": codec}) as peers:
        await until(lambda: min(peer.status().step for peer in peers) >= 15)
        for peer in peers:  # the value is where it should be
            data = peer._incarnation.housekeeping.data
            assert (data.train_inputs == CANARY).any()
            assert (data.test_inputs == CANARY).any()
        sent = sum(peer.counters.bytes_sent for peer in peers)
    assert len(handed_over) >= sent > 10_000
    assert b"GSFL" in handed_over  # plaintext, not ciphertext, is what was collected
    assert peers[0].task.fingerprint in handed_over
    found = [name for name, form in forms(CANARY).items() if form in handed_over]
    assert not found


@in_trio
async def test_the_search_finds_what_is_sent(tmp_path, handed_over):
    """The same search for numbers that do leave: those of the common initial model."""
    async with network_of(tmp_path, 2, exchange={"merges_per_training": 1000, "patience": 1000.0}) as peers:
        await until(lambda: min(peer.status().event for peer in peers) >= 2)
    weight = float(peers[0].task.initial_row()[7])
    assert forms(weight)["float32 little-endian"] in handed_over
    assert torch.tensor([weight]).numpy().tobytes() in handed_over
