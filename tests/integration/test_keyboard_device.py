"""A keyboard's device: killed while it is typed on, with its wire tapped; and training only when it may."""

from __future__ import annotations

import multiprocessing
import socket
import threading
import time
from contextlib import contextmanager, suppress

import pytest

from gossipfl.keyboard.store import TypingStore
from gossipfl.peer import Home
from gossipfl.peer.policy.processor import Processor
from tests.gossipfl.cli.test_main import cli
from tests.gossipfl.peer.policy.buses import fake_services, private_bus
from tests.integration.peers import PeerProcess, records_of
from tests.integration.test_keyboard import assert_nowhere, client_of, keyboard_settings, wait_for_page
from tests.integration.test_policies import wait_for

__all__ = ["cli"]

pytest.importorskip("hypercorn")


@contextmanager
def tapped(port):
    """A way to a port of this machine that keeps all that passes; its address, and what passed."""
    kept, sockets = bytearray(), []

    def pour(source, sink):
        with suppress(OSError):
            while data := source.recv(65536):
                kept.extend(data)
                sink.sendall(data)
        for each in (source, sink):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def accept():
        with suppress(OSError):
            while True:
                outer, _ = listener.accept()
                sockets.append(outer)
                with suppress(OSError):
                    inner = socket.create_connection(("127.0.0.1", port))
                    sockets.append(inner)
                    for ends in ((outer, inner), (inner, outer)):
                        threading.Thread(target=pour, args=ends, daemon=True).start()
                    continue
                outer.close()  # the peer is down

    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"/ip4/127.0.0.1/tcp/{listener.getsockname()[1]}", kept
    finally:
        for each in (listener, *sockets):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


def word(number):
    """Of typing: unlike any other, and unlike what could be in a file by chance."""
    return f"zq{''.join('abcdefghij'[int(digit)] for digit in f'{number:05d}')}quokka"


class Typist(threading.Thread):
    """Types messages of four such words, and others, until told to stop; notes what was acknowledged."""

    def __init__(self, process, first):
        super().__init__(daemon=True)
        self.process, self.number, self.acknowledged = process, first, {}
        self.is_over = False

    def run(self):
        client = client_of(self.process.home, wait_for_page(self.process))
        while not self.is_over:
            message, words = self.number // 4, range(self.number // 4 * 4, self.number + 1)
            text = "".join(f"see you at home {word(each)} " for each in words)
            try:
                answer = client.post("/api/keyboard/typed", {"message": message, "text": text})
            except (OSError, ValueError, EOFError):
                return  # killed
            except Exception as error:
                if type(error).__module__ == "http.client":
                    return
                raise
            if answer.status == 200 and answer.json == {"stored": True}:
                self.acknowledged[message] = text
                self.number += 1


def test_killed_while_it_is_typed_on_no_word_is_lost_and_none_is_in_the_clear(cli, tmp_path):
    """SIGKILL between any two instructions, three times; another peer and the wire to it see no word, either."""
    process = PeerProcess(tmp_path / "ada", keyboard_settings(tmp_path), forked=True)
    acknowledged, number = {}, 0
    process.start()
    try:
        wait_for_page(process)
        address, _, key = process.status()["addresses"][0].partition("/p2p/")
        with tapped(int(address.rpartition("/")[2])) as (way, kept):
            settings = keyboard_settings(tmp_path, 1, bootstrap=[f"{way}/p2p/{key}"], page={"enabled": False})
            with PeerProcess(tmp_path / "ben", settings, forked=True) as ben:
                ben.start()
                for round_ in range(3):
                    if round_:
                        process.start()
                    typist = Typist(process, number)
                    typist.start()
                    wait_for(lambda typist=typist, least=number + 9 + 3 * round_: typist.number >= least)
                    wait_for(process.home.departures.exists)  # what this start sent is to be counted, too
                    process.process.kill()
                    process.process.wait()
                    typist.is_over = True
                    typist.join()
                    acknowledged |= typist.acknowledged
                    number = typist.number
                process.start()  # and it learns from what there was before
                wait_for_page(process)
                merges = ben.status()["event"]
                wait_for(lambda: process.status()["step"] > 0 and ben.status()["event"] > merges + 5)
                client = client_of(process.home, process.status()["page"])
                begun = word(number - 1)[:-3]  # by the owner's words of before: the model cannot know it
                wait_for(
                    lambda: (
                        word(number - 1)
                        in client.post("/api/keyboard/suggest", {"text": begun}).json["suggestions"]
                    )
                )
                assert len(kept) > 10_000
                loop_is_told(cli, process, ben)
    finally:
        process.process.kill()
        process.process.wait()
    assert number > 25
    assert b"quokka" not in kept.lower()
    for home in (Home(tmp_path / "ada"), Home(tmp_path / "ben")):
        assert (home.directory / "err").exists()
        assert list(home.records.glob("*"))
        assert_nowhere(home, "quokka")
    store = TypingStore(process.home.typing)
    found = {each.message: each.text for each in store.texts()}
    store.close()
    assert not store.notices or "torn end" in store.notices[0]
    for message, text in acknowledged.items():
        assert found[message].startswith(text)
    assert set(found) - set(acknowledged) <= {number // 4}  # what was under way may be there, or not


def loop_is_told(cli, process, other):
    """The five parts of the loop in the status, and the bytes of today with those of earlier starts."""
    said = cli("peer", "status", "--home", process.home.directory)[1]
    cells = (line.strip("│ ").partition("│") for line in said.splitlines())
    rows = {name.strip(): text for name, _, text in cells}
    assert other.status()["peer_id"] in said.replace("\n", "")
    assert "bytes instead of" in rows["model condensed"]
    for part in ("models fetched", "model improved", "models sent", "models merged"):
        assert "last 20" in rows[part], part
    assert "without noise" in said.replace("\n", "")

    def more_than_this_start(status):
        return sum(status["keyboard"]["left"]["days"].values()) > status["network"]["bytes_sent"]

    wait_for(lambda: more_than_this_start(process.status()))  # the days are counted once a second


def typed_on(process, texts=("see you tomorrow at home",) * 8):
    client = client_of(process.home, wait_for_page(process))
    for number, text in enumerate(texts):
        assert client.post("/api/keyboard/typed", {"message": number, "text": text}).status == 200
    return client


def steps_stand_still(process):
    """Whether a peer that may not train takes no step more, but for the one under way."""
    status = wait_for(lambda: (said := process.status()) and not said["permission"]["trains"] and said)
    evaluations = len(records_of(process.home, "evaluation"))
    wait_for(lambda: len(records_of(process.home, "evaluation")) > evaluations + 3)
    return process.status()["step"] <= status["step"] + 1


def test_a_keyboard_trains_only_while_its_battery_allows(cli, tmp_path, monkeypatch):
    """A fake battery on a real D-Bus; typing and suggestions go on, and page and status say why it waits."""
    power = {"OnBattery": True, "Percentage": 80.0, "IsPresent": True}
    network = {"Metered": 1}
    policy = {"period": 0.05, "dwell": 0.0, "charging": True, "unmetered": True}
    settings = keyboard_settings(tmp_path, policy=policy)
    with (
        private_bus(tmp_path, monkeypatch),
        fake_services(power=power, network=network),
        PeerProcess(tmp_path / "ada", settings) as peer,
    ):
        peer.start("--plain")
        client = typed_on(peer)

        def overview():
            return client.post("/api/keyboard/overview", {}).json

        wait_for(lambda: overview()["waits"] == "training waits: on battery; the network is metered")
        assert peer.status()["step"] == 0
        assert overview()["loop"]["improved"]["count"] == 0
        assert len(client.post("/api/keyboard/suggest", {"text": "see you "}).json["suggestions"]) == 3
        wait_for(lambda: "✗ on battery" in cli("peer", "status", "--home", peer.home.directory)[1])
        power.update(OnBattery=False)
        network.update(Metered=2)
        wait_for(lambda: peer.status()["step"] > 3 and overview()["loop"]["improved"]["count"] > 0)
        assert overview()["waits"] is None
        network.update(Metered=1)
        wait_for(lambda: not overview()["trains"])
        assert overview()["waits"] == "training waits: the network is metered"
        assert steps_stand_still(peer)
    reasons = [each["reasons"] for each in records_of(peer.home, "permission")]
    assert ["unmetered"] in reasons


def burn():
    while True:
        sum(range(10_000))


@pytest.mark.slow
def test_a_keyboard_makes_way_for_a_real_load(tmp_path):
    """A busy process for each core; the rest of the machine must be quiet enough for this to be told apart."""
    if Processor().read().value > 0.4:
        pytest.skip("other processes use too much of this machine's CPU")
    policy = {"period": 1.0, "dwell": 2.0, "other_cpu": 0.6}
    context = multiprocessing.get_context("spawn")
    with PeerProcess(tmp_path / "ada", keyboard_settings(tmp_path, policy=policy)) as peer:
        client = typed_on(peer.start("--plain"))
        peer.until_at(step=20, seconds=300)
        busy = [context.Process(target=burn, daemon=True) for _ in range(multiprocessing.cpu_count())]
        for each in busy:
            each.start()
        try:
            wait_for(lambda: not peer.status()["permission"]["trains"], seconds=120)
            assert "other processes use" in client.post("/api/keyboard/overview", {}).json["waits"]
            assert steps_stand_still(peer)
            began = time.perf_counter()
            assert (
                client.post("/api/keyboard/suggest", {"text": "see you "}).json["suggestions"][0]
                == "tomorrow"
            )
            print(f"a suggestion meanwhile: {1e3 * (time.perf_counter() - began):.1f} ms")
        finally:
            for each in busy:
                each.kill()
                each.join()
        step = peer.status()["step"]
        peer.until_at(step=step + 20, seconds=300)
