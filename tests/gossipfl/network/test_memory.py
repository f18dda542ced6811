"""Memory for received models."""

import pytest

from gossipfl.errors import PeerBusy
from gossipfl.network import RowMemory


def test_one_row_has_room_whatever_its_size_and_no_second_one():
    memory = RowMemory(100)
    held = memory.reserve(1000)
    assert not memory.has_room(1)
    with pytest.raises(PeerBusy):
        memory.reserve(1)
    held.release()
    held.release()
    assert memory.reserved == 0


def test_rows_that_are_kept_count():
    memory, kept = RowMemory(100), [60]
    memory.kept = lambda: kept[0]
    assert memory.has_room(40)
    assert not memory.has_room(41)
    memory.reserve(40)
    kept[0] = 0
    assert memory.has_room(60)
