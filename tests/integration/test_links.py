"""Peers behind slow links, in network namespaces: rows that arrive, and neighbours that are not slowed."""

import itertools
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from .namespaces import lab, needs_namespaces, read_within
from .peers import PeerProcess, quick_settings, record_lines

pytestmark = [needs_namespaces, pytest.mark.slow]

SLOW, FAST = 1.0, 100.0  # Mbit/s


@dataclass
class Share:
    """Shares of a link that rows took which arrived, and exchanges a second of each other peer.

    The first two are of the whole time, at whose end rows are under way that do not count; the others of the time
    until the last of them arrived.
    """

    up: float
    down: float
    up_until_last: float
    down_until_last: float
    others: float


def hidden_units(size):
    """Hidden units of the task of blobs with a row of about so many bytes."""
    return max(1, size // 4 // 20)


class Network:
    """Peers at one switch, each behind a link of its own."""

    def __init__(self, spaces, directory, stack, *, size, **tables):
        self._spaces, self._directory, self._stack = spaces, directory, stack
        self._switch = spaces.switch("switch")
        self._size, self._tables = 4 * (20 * hidden_units(size) + 3), tables
        self.peers = []

    def add(self, *, mbits, **tables):
        """Start a peer behind a link of so many Mbit/s."""
        number = len(self.peers)
        address = f"10.0.0.{number + 1}/24"
        host = self._spaces.behind_modem(f"h{number}", self._switch, address, mbits=mbits)
        settings = quick_settings(
            number,
            bootstrap=[self._address(peer) for peer in self.peers[:1]],
            options={"hidden": hidden_units(self._size)},
            network={
                "listen": ["/ip4/0.0.0.0/tcp/4001"],
                "silence_seconds": 15.0,
                **tables.pop("network", {}),
            },
            membership={"door": "open"},
            exchange={**self._tables, **tables.pop("exchange", {})},
            gate={"enabled": False},
            checkpoint={"period": 60.0},
            evaluation={"period": 60.0},
            view={"period": 2.0},
        )
        peer = PeerProcess(self._directory / f"peer-{number}", settings, namespace=host)
        self.peers.append(self._stack.enter_context(peer).start())
        return peer

    def _address(self, peer):
        return next(each for each in peer.until_at(seconds=120)["addresses"] if "/10.0.0." in each)

    def measure(self, seconds, *, mbits=SLOW):
        """Measure what the last peer's link carries, and what the others do."""
        *others, slow = self.peers
        for peer in self.peers:
            peer.until_at(seconds=120, event=2)
        began = time.time()
        time.sleep(seconds)
        lasted = time.time() - began
        own = slow.status()["peer_id"]
        arrived = [each["time"] for each in record_lines(slow.home) if _is_arrival(each, began)]
        told = [
            each["time"]
            for peer in others
            for each in record_lines(peer.home)
            if _is_arrival(each, began) and each["sender"] == own
        ]
        done = sum(
            each["kind"] == "exchange" and each["outcome"] == "ok" and each["time"] >= began
            for peer in others
            for each in record_lines(peer.home)
        )
        row_seconds = self._size / (mbits * 1e6 / 8)
        return Share(
            up=row_seconds * len(told) / lasted,
            down=row_seconds * len(arrived) / lasted,
            up_until_last=row_seconds * len(told) / (max(told, default=began + lasted) - began),
            down_until_last=row_seconds * len(arrived) / (max(arrived, default=began + lasted) - began),
            others=done / lasted / len(others),
        )


def _is_arrival(record, since):
    return record["kind"] in ("merge", "adopt", "refusal") and record["time"] >= since


@pytest.fixture
def network(tmp_path):
    with lab() as spaces, ExitStack() as stack:

        def made(**settings):
            return Network(spaces, tmp_path, stack, **settings)

        yield made


@pytest.mark.parametrize(
    ("size", "period", "seconds"),  # which are enough for so many rows each way: 750, 150, 30, 20, 22, 10
    [
        pytest.param(10_000, 0.1, 60.0, marks=pytest.mark.timeout(900)),
        pytest.param(100_000, 0.5, 120.0, marks=pytest.mark.timeout(900)),
        pytest.param(1_000_000, 1.0, 240.0, marks=pytest.mark.timeout(900)),
        pytest.param(3_000_000, 1.0, 480.0, marks=pytest.mark.timeout(1500)),
        pytest.param(10_000_000, 1.0, 1800.0, marks=pytest.mark.timeout(3600)),
        pytest.param(50_000_000, 10.0, 4200.0, marks=pytest.mark.timeout(7200)),
    ],
)
def test_a_slow_link_carries_rows_both_ways_and_slows_nobody(network, size, period, seconds):
    """It carried a third of what it could: rows of 1 MB shared it, and ended at the deadline of 20 s."""
    peers = network(size=size, period=period, deadline=20.0, patience=10.0)
    for _ in range(4):
        peers.add(mbits=FAST)
    before = peers.measure(max(20.0, 10 * period))
    peers.add(mbits=SLOW)
    share = peers.measure(seconds)
    print(f"{size} bytes: without the slow peer {before.others:.2f} exchanges a second, with it {share}")
    assert share.up_until_last >= 0.8
    assert share.down_until_last >= 0.8
    assert share.others >= 0.9 * before.others


def device_bytes(host):
    """What a host has sent and received since it began, with all headers, as its network device counts it."""
    [device] = [line for line in read_within(host, "/proc/net/dev").splitlines() if "eth" in line]
    fields = device.partition(":")[2].split()
    return int(fields[8]), int(fields[0])


def rates_over(samples, seconds):
    """The largest and the smallest rate in Mbit/s over so many seconds, of times and bytes."""
    rates = [
        8e-6 * (until[1] - since[1]) / (until[0] - since[0])
        for since, until in itertools.combinations(samples, 2)
        if seconds <= until[0] - since[0] < seconds + 0.5
    ]
    return max(rates), min(rates)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("size", [100_000, 1_000_000])
def test_caps_are_kept_over_any_ten_seconds(network, size):
    """On the wire, headers included: behind links of 100 Mbit/s a peer would send and receive tens of Mbit/s."""
    upload, download = 2.0, 4.0
    peers = network(size=size, period=0.2, deadline=20.0, patience=5.0)
    for _ in range(4):
        peers.add(mbits=FAST)
    peer = peers.add(mbits=FAST, network={"upload_mbits": upload, "download_mbits": download})
    peer.until_at(seconds=120, event=10)
    began, sent, received = time.monotonic(), [], []
    while (now := time.monotonic()) < began + 60:
        up, down = device_bytes(peer.namespace)
        sent.append((now, up))
        received.append((now, down))
        time.sleep(0.25)
    for cap, samples in ((upload, sent), (download, received)):
        most, least = rates_over(samples, 10.0)
        print(f"{size} bytes: over 10 s {least / cap:.2f} to {most / cap:.2f} of a cap of {cap} Mbit/s")
        assert most <= 1.1 * cap
        assert least >= 0.4 * cap  # it is in use


@pytest.mark.timeout(900)
def test_a_codec_for_each_link_brings_more_models_over_a_slow_one(network):
    """As many as float32 cannot bring: each share is of what the link carries in float32."""
    peers = network(size=1_000_000, period=1.0, deadline=20.0, patience=10.0, codec="auto")
    for _ in range(4):
        peers.add(mbits=FAST)
    peers.add(mbits=SLOW)
    share = peers.measure(120.0)
    *others, slow = peers.peers
    own = slow.status()["peer_id"]
    merges = [each for peer in others for each in record_lines(peer.home) if each["kind"] == "merge"]
    codecs = Counter((each["sender"] == own, each["codec"]) for each in merges)
    print(f"{share}, models merged by the others, from the slow peer and among themselves: {codecs}")
    assert share.up + share.down >= 3.0
    assert {codec for is_slow, codec in codecs if is_slow} == {"int8:256"}
    assert codecs[False, "float32"] >= 0.7 * sum(n for (is_slow, _), n in codecs.items() if not is_slow)
