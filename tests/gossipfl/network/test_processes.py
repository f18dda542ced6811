"""Peers that freeze, die or are told to stop, in processes of their own."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from gossipfl.errors import ExchangeFailed, ExchangeTimedOut
from gossipfl.network.link import Link
from gossipfl.wire import Acknowledgement

from .helpers import in_trio, limits, model_frame, serving_host, until

ROOT = Path(__file__).parents[3]
LARGE = 5_000_000  # numbers in a row: 20 MB, more than sockets and windows hold


def start_peer(size=LARGE):
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.gossipfl.network.peer_process", str(size)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    peer_id, addresses = json.loads(process.stdout.readline())
    return process, peer_id, addresses


@pytest.fixture(scope="module")
def peer():
    process, peer_id, addresses = start_peer()
    yield process, peer_id, addresses
    process.send_signal(signal.SIGCONT)
    process.kill()
    process.communicate()


@in_trio
async def test_a_frozen_peer_times_out_is_dropped_and_is_welcome_when_it_thaws(peer):
    """Against a stock host reads and writes hang for ever, and so does closing."""
    process, peer_id, addresses = peer
    async with serving_host(size=LARGE) as other, serving_host(size=LARGE) as client:
        await client.exchange(peer_id, addresses, model_frame(LARGE))
        process.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(ExchangeTimedOut):
                await client.exchange(peer_id, addresses, model_frame(LARGE), seconds=0.5)
            await client.exchange(other.peer_id, other.addresses, model_frame(LARGE), seconds=20)
            await until(lambda: client.connected() == {other.peer_id}, seconds=8)
        finally:
            process.send_signal(signal.SIGCONT)
        reply = await client.exchange(peer_id, addresses, model_frame(LARGE, sequence=3), seconds=30)
        assert isinstance(reply, Acknowledgement)


@in_trio
async def test_behind_a_full_link_a_peer_is_given_longer_for_a_sign_of_life(peer, monkeypatch):
    """Rows of 50 MB that had been under way for minutes were lost when an exchange of views timed out."""
    process, peer_id, addresses = peer
    async with serving_host(size=LARGE) as client:
        await client.exchange(peer_id, addresses, model_frame(LARGE))
        with client.link.upload.expecting(10**12, is_valued=True) as row:
            row.begin()
            monkeypatch.setattr(client.link.upload, "_has_room", lambda: False)  # it moves
            process.send_signal(signal.SIGSTOP)
            try:
                with pytest.raises(ExchangeTimedOut):
                    await client.exchange(peer_id, addresses, model_frame(LARGE, sequence=2), seconds=0.5)
                await trio.sleep(2.2)  # longer than it has otherwise
            finally:
                process.send_signal(signal.SIGCONT)
            reply = await client.exchange(peer_id, addresses, model_frame(LARGE, sequence=3), seconds=30)
        assert isinstance(reply, Acknowledgement)
        assert client.counters.connections_dialled == 1


@in_trio
async def test_on_a_connection_with_a_row_under_way_a_peer_is_given_longer_too(peer, monkeypatch):
    """The link of a fast peer is not full when that of its neighbour is."""
    process, peer_id, addresses = peer
    async with serving_host(size=LARGE) as client:
        await client.exchange(peer_id, addresses, model_frame(LARGE, sequence=7))
        client.link.upload.limit(40.0)
        monkeypatch.setattr(Link, "is_full", False)
        before = client.link.upload.moved
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.exchange, peer_id, (), model_frame(LARGE, sequence=8))
                await until(lambda: client.link.upload.moved > before + 1_000_000)
                process.send_signal(signal.SIGSTOP)
                moved = 0
                while moved < client.link.upload.moved:  # until all that holds bytes on the way is full
                    moved = client.link.upload.moved
                    await trio.sleep(0.5)
                [connection] = client._table.of_peer(peer_id)
                connection.suspect()  # as when a view times out
                await trio.sleep(2.2)
                process.send_signal(signal.SIGCONT)
        finally:
            process.send_signal(signal.SIGCONT)
        assert client.counters.connections_dialled == 1


@in_trio
async def test_behind_a_full_link_a_peer_may_be_silent_for_longer(peer, monkeypatch):
    """Of the connections that share it, TCP serves some for a quarter of a minute not at all."""
    process, peer_id, addresses = peer
    short = limits(keepalive_seconds=0.5, silence_seconds=1.0)
    async with serving_host(size=LARGE, limits=short) as client:
        await client.exchange(peer_id, addresses, model_frame(LARGE, sequence=5))
        with client.link.upload.expecting(10**12, is_valued=True) as row:
            row.begin()
            monkeypatch.setattr(client.link.upload, "_has_room", lambda: False)
            process.send_signal(signal.SIGSTOP)
            try:
                began = trio.current_time()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(sent_in_vain, client, peer_id)
                    await until(lambda: not client.connected(), seconds=10)
                assert trio.current_time() - began > 2.5
            finally:
                process.send_signal(signal.SIGCONT)


async def sent_in_vain(client, peer_id):
    with pytest.raises(ExchangeFailed):
        await client.exchange(peer_id, (), model_frame(LARGE, sequence=6), seconds=20)


@in_trio
async def test_leaving_does_not_hang_while_a_peer_is_frozen(peer):
    process, peer_id, addresses = peer
    try:
        async with serving_host(size=LARGE) as client:
            await client.exchange(peer_id, addresses, model_frame(LARGE))
            process.send_signal(signal.SIGSTOP)
            with trio.move_on_after(0.5):
                await client.exchange(peer_id, addresses, model_frame(LARGE))
            left = trio.current_time()
        assert trio.current_time() - left < 5
    finally:
        process.send_signal(signal.SIGCONT)


@in_trio
async def test_an_idle_connection_to_a_frozen_peer_is_dropped(peer):
    """Stock libp2p ignores missing pongs: the connection stays open for ever."""
    process, peer_id, addresses = peer
    quick = limits(keepalive_seconds=0.3, silence_seconds=1.0)
    async with serving_host(size=LARGE, limits=quick) as client:
        await client.exchange(peer_id, addresses, model_frame(LARGE))
        await trio.sleep(2.0)
        assert client.connected() == {peer_id}, "a peer that answers pings is kept"
        process.send_signal(signal.SIGSTOP)
        try:
            await until(lambda: not client.connected())
        finally:
            process.send_signal(signal.SIGCONT)


@in_trio
async def test_a_writer_stuck_on_a_frozen_peer_gives_up_without_any_deadline_of_the_user(peer):
    process, peer_id, addresses = peer
    quick = limits(keepalive_seconds=0.3, silence_seconds=1.0, dial_seconds=1.0)
    async with serving_host(size=LARGE, limits=quick) as client:
        await client.exchange(peer_id, addresses, model_frame(LARGE))
        process.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(ExchangeFailed):
                await client.exchange(peer_id, addresses, model_frame(LARGE), seconds=20)
        finally:
            process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
@in_trio
async def test_a_peer_that_leaves_or_dies_under_an_exchange(how):
    process, peer_id, addresses = await trio.to_thread.run_sync(start_peer)
    async with serving_host(size=LARGE) as client:
        await client.exchange(peer_id, addresses, model_frame(LARGE))
        failures = []

        async def exchange_for_ever():
            try:
                while True:
                    await client.exchange(peer_id, addresses, model_frame(LARGE), seconds=20)
            except ExchangeFailed as error:
                failures.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(exchange_for_ever)
            await trio.sleep(0.1)
            process.send_signal(how)
        assert failures
        assert not client.connected()
    _, errors = await trio.to_thread.run_sync(process.communicate)
    assert process.returncode == (0 if how == signal.SIGINT else -signal.SIGKILL)
    assert errors == b""


def test_importing_the_network_takes_no_library_along_and_leaves_logging_alone():
    """Importing libp2p takes a second and 85 MB, and installs handlers of its own."""
    script = """
import logging, sys
before = list(logging.getLogger().handlers)
import gossipfl.network
assert list(logging.getLogger().handlers) == before
assert "libp2p" not in sys.modules
"""
    outcome = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False, cwd=ROOT)
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stderr == b""
