"""The doctor in a network of machines: a firewall, a router that forwards a port, and one that does not."""

import json
import subprocess
from contextlib import ExitStack

import pytest

from .namespaces import ONE_WAY, PUBLIC, command_in, lab, needs_namespaces, within
from .peers import PeerProcess, quick_settings

pytestmark = [needs_namespaces, pytest.mark.slow, pytest.mark.timeout(600)]


def doctor(space, peer):
    """The level and the text of each finding."""
    home = str(peer.home.directory)
    done = subprocess.run(
        command_in(space, "gossipfl", "doctor", "--home", home, "--json"),
        capture_output=True,
        text=True,
        check=False,
    )
    values = json.loads(done.stdout)
    assert done.returncode == int(values["worst"] == "error"), done.stderr
    return {each["name"]: (each["level"], each["seen"], each["remedy"]) for each in values["findings"]}


def test_neighbours_say_who_can_be_reached_and_at_which_address(tmp_path):
    with lab() as network, ExitStack() as stack:
        public = network.switch("public")
        spaces = {name: network.host(name) for name in ("hub", "walled")}
        for number, space in enumerate(spaces.values(), start=1):
            network.connect(public, space, PUBLIC.format(9, number))
        within(spaces["walled"], "nft", ONE_WAY)
        spaces["hidden"] = network.behind_router("hidden", public, number=1)
        spaces["forwarded"] = network.behind_router("forwarded", public, number=2, forwarded=True)
        peers, bootstrap = {}, []
        for number, (name, space) in enumerate(spaces.items()):
            settings = quick_settings(
                number,
                bootstrap=bootstrap,
                network={"listen": ["/ip4/0.0.0.0/tcp/4001"]},
                membership={"door": "open"},
            )
            peers[name] = peer = PeerProcess(tmp_path / name, settings, namespace=space)
            stack.enter_context(peer).start()
            peer.until_at(step=1, seconds=200)
            bootstrap = bootstrap or list(peer.status()["addresses"])
        for peer in peers.values():
            peer.until_at(connected=1, seconds=60)

        found = {name: doctor(spaces[name], peer) for name, peer in peers.items()}
        assert found["hub"]["reachability"][0] == "ok"
        assert "reached 9.9.9.1 port 4001" in found["hub"]["reachability"][1]
        assert found["hub"]["nat"][1] == "neighbours see this peer at an address of this machine"
        for name, address in (("walled", "9.9.9.2"), ("hidden", "9.9.9.11")):
            level, seen, remedy = found[name]["reachability"]
            assert level == "error", name
            assert f"{address} port 4001 (unreached)" in seen
            assert "firewall" in remedy
        assert found["forwarded"]["reachability"][0] == "ok"
        assert "reached 9.9.9.12 port 4001" in found["forwarded"]["reachability"][1]
        for name, address in (("hidden", "9.9.9.11"), ("forwarded", "9.9.9.12")):
            assert found[name]["nat"][1] == f"a router translates: neighbours see this peer at {address}"
