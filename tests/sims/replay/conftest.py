"""A network of real processes, started once for all tests that need one."""

import pytest

from tests.integration.peers import PeerProcess, quick_settings

PEERS = 4


@pytest.fixture(scope="package")
def network_homes(tmp_path_factory):
    """Four processes of a few hundred events each; the last one is killed and comes back."""
    directory = tmp_path_factory.mktemp("network")
    peers, bootstrap = [], ()
    tables = {
        "training": {"momentum": 0.9},
        "exchange": {"codec": "bfloat16", "period": 0.1},
        "checkpoint": {"period": 0.5},
    }
    try:
        for index in range(PEERS):
            settings = quick_settings(index, bootstrap=bootstrap, **tables)
            peers.append(PeerProcess(directory / f"peer-{index}", settings, forked=index < PEERS - 1))
            peers[-1].start("--plain")
            bootstrap = peers[0].until_at(event=0)["addresses"]
        victim = peers[-1]
        victim.until_at(event=60)
        victim.process.kill()
        victim.process.wait()
        victim.start("--plain")
        victim.until_at(event=100)
        for peer in peers:
            peer.until_at(event=150)
        for peer in peers:
            peer.process.terminate()
        for peer in peers:
            assert peer.process.wait(timeout=60) == 0, peer.err
    finally:
        for peer in peers:
            peer.__exit__()
    return [peer.home.directory for peer in peers]
