"""Connections to Ray clusters: where, with which software, and what is said where there is none."""

import os
import signal
import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest

from gossipfl.errors import SettingError
from sims.cluster.ray_cluster import connected, is_ray
from sims.cluster.software import _digest_of_code, differences, software
from sims.errors import ClusterMismatch, ClusterUnreachable


def test_an_address_is_ray_or_that_of_a_client_server():
    assert is_ray("ray")
    assert is_ray("ray://head:10001")
    assert not is_ray("slurm")
    assert not is_ray("rays")
    with pytest.raises(SettingError, match="no Ray cluster is named"), connected("local"):
        pass


@pytest.mark.parametrize("address", ["ray://", "ray://head", "ray://head:port", "ray://:10001"])
def test_an_incomplete_address_is_named(address):
    with (
        pytest.raises(SettingError, match=r"needs a host and a port; .*ray://head:10001"),
        connected(address),
    ):
        pass


@pytest.mark.parametrize("form", ["ray://127.0.0.1:{}", "127.0.0.1:{}"])
def test_where_nothing_listens_is_said_at_once(form, monkeypatch):
    with socket.socket() as bound:  # a port that nobody else gets meanwhile
        bound.bind(("127.0.0.1", 0))
        address = form.format(bound.getsockname()[1])
        monkeypatch.setenv("RAY_ADDRESS", address)
        on = address if "://" in address else "ray"
        with pytest.raises(ClusterUnreachable, match=f"no Ray cluster answers at {address}"), connected(on):
            pass


def test_a_connection_that_is_there_is_not_ended_by_another(monkeypatch):
    import ray

    def twice(**settings):
        raise RuntimeError("called ray.init twice")

    ended = []
    for name, does in {
        "is_initialized": lambda: True,
        "init": twice,
        "shutdown": lambda: ended.append(1),
    }.items():
        monkeypatch.setattr(ray, name, does)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"ray://127.0.0.1:{listening.getsockname()[1]}"
        refused = pytest.raises(ClusterUnreachable, match=r"connected to a Ray cluster already.*Say `ray`")
        with refused, connected(address):
            pass
    assert ended == []


@pytest.fixture
def unstarted(monkeypatch):
    """Ray as if nothing of it had been started here; what ``ray.init`` is to do."""
    import ray

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    for name, does in {"is_initialized": lambda: False, "shutdown": lambda: None}.items():
        monkeypatch.setattr(ray, name, does)
    return lambda does: monkeypatch.setattr(ray, "init", does)


@pytest.mark.parametrize(("given", "address"), [(None, "127.0.0.1"), ("1", "10.0.0.7")])
def test_a_cluster_of_this_machine_is_told_to_listen_there_alone(unstarted, monkeypatch, given, address):
    from ray._private import services

    found = []
    monkeypatch.setattr("ray._private.worker._global_node", None)
    monkeypatch.setattr(services, "node_ip_address_from_perspective", lambda _: "10.0.0.7")
    monkeypatch.delenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", raising=False)
    if given:  # by somebody who wants other machines to join
        monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", given)
    before = dict(os.environ)
    unstarted(lambda **_: found.append(services.get_node_ip_address()))
    monkeypatch.setattr("sims.cluster.ray_cluster.require_same_software", lambda _: None)
    with connected("ray"):
        pass
    assert found == [address]
    assert services.get_node_ip_address() == "10.0.0.7"
    assert os.environ.items() <= before.items() | {("RAY_USAGE_STATS_ENABLED", "0")}


def test_a_cluster_that_does_not_start_in_time_is_named(unstarted):
    def late(**_):
        raise Exception("The current node timed out during startup.")  # noqa: TRY002 - as Ray does

    unstarted(late)
    with (
        pytest.raises(
            ClusterUnreachable, match=r"no Ray cluster was started \(local\); got The current node timed"
        ),
        connected("ray"),
    ):
        pass


LISTENING = """
import psutil, ray
from sims.cluster.ray_cluster import connected
with connected("ray", cpus=1):
    mine = psutil.Process()
    for process in [mine, *mine.children(recursive=True)]:
        for each in process.net_connections("inet"):
            if each.status == psutil.CONN_LISTEN:
                print(each.laddr.ip)
"""


@pytest.mark.slow
def test_nobody_else_reaches_a_cluster_of_this_machine():
    pytest.importorskip("ray")
    pytest.importorskip("psutil")
    known = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    said = subprocess.run(
        [sys.executable, "-c", LISTENING], env=known, capture_output=True, text=True, check=True
    )
    addresses = said.stdout.split()
    assert len(addresses) >= 5
    assert {address.removeprefix("::ffff:") for address in addresses} == {"127.0.0.1"}


def test_without_ray_it_is_said_how_to_install_it(monkeypatch):
    monkeypatch.setattr("gossipfl.extras.is_installed", lambda module: module != "ray")
    with pytest.raises(SettingError, match=r"gossipfl\[ray\]"), connected("ray"):
        pass


def test_the_cluster_of_the_environment_is_used_and_left(ray_cluster):
    import ray

    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with connected("ray") as module:
        assert module is ray
        assert len(ray.nodes()) == 2
        assert ray.cluster_resources()["CPU"] == 2
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
        with connected("ray"):  # within a connection, that one is used, and kept
            assert len(ray.nodes()) == 2
        assert ray.is_initialized()
    assert not ray.is_initialized()
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


def test_machines_with_other_software_are_named(ray_cluster, monkeypatch):
    here = software() | {"torch": "0.1"}
    monkeypatch.setattr("sims.cluster.software._digest_of_code", lambda: "another")
    monkeypatch.setattr("sims.cluster.software.version", lambda name: here.get(name, "none"))
    with (
        pytest.raises(ClusterMismatch, match=r"expected torch 0\.1, gossipfl's code another; got torch [^0]"),
        connected("ray"),
    ):
        pass


def test_code_is_all_that_computes(tmp_path, monkeypatch):
    (tmp_path / "__init__.py").touch()
    (tmp_path / "kernels.cpp").write_text("one")
    place = SimpleNamespace(__file__=str(tmp_path / "__init__.py"))
    monkeypatch.setattr("sims.cluster.software.import_module", lambda name: place)
    before = _digest_of_code.__wrapped__()
    (tmp_path / "notes.txt").touch()
    assert _digest_of_code.__wrapped__() == before
    (tmp_path / "kernels.cpp").write_text("two")
    assert _digest_of_code.__wrapped__() != before


def test_differences_name_what_is_missing_too():
    assert differences({"python": "3.12"}, {"python": "3.12", "more": "1"}) == ("", "")
    assert differences({"ray": "2.60"}, {}) == ("ray 2.60", "ray none")
    assert software() == software()
    assert len(software()["gossipfl's code"]) == 12
