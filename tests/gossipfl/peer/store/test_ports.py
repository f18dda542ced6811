"""The ports of the last start: a hint that may be lost, and never an error."""

import pytest

from gossipfl.peer.store.ports import recall_ports, remember_ports

PORTS = {"/ip4/127.0.0.1/tcp/0": 40123, "/ip6/::1/tcp/0": 5}


def test_what_is_remembered_is_recalled(tmp_path):
    assert recall_ports(tmp_path / "ports.json") == {}
    remember_ports(tmp_path / "ports.json", PORTS)
    assert recall_ports(tmp_path / "ports.json") == PORTS
    remember_ports(tmp_path / "ports.json", {})  # this time all ports were set
    assert recall_ports(tmp_path / "ports.json") == PORTS


@pytest.mark.parametrize("content", [b"", b"[1]", b"\xff", b'{"/ip4/127.0.0.1/tcp/0": "x"}', b'{"a": 70000}'])
def test_what_is_damaged_is_forgotten(tmp_path, content):
    (tmp_path / "ports.json").write_bytes(content)
    assert recall_ports(tmp_path / "ports.json") == {}


def test_a_disk_that_refuses_is_reported_only(tmp_path, caplog):
    (tmp_path / "file").touch()
    remember_ports(tmp_path / "file" / "ports.json", PORTS)
    assert "cannot be stored" in caplog.text
