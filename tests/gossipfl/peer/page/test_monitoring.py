"""The dashboard and the alert rules ask for metrics that there are, and a real Prometheus takes them."""

import json
import re
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.gossipfl.peer.page.http_client import Client
from tests.integration.peers import PeerProcess, quick_settings

MONITORING = Path(__file__).parents[4] / "examples" / "monitoring"
NAME = re.compile(r"\b((?:gossipfl|process)_[a-z_]+)\b")

needs_prometheus = pytest.mark.skipif(
    not (shutil.which("prometheus") and shutil.which("promtool")),
    reason="no Prometheus here: apt-get install prometheus",
)


def asked_for():
    """All names of metrics in the dashboard and the rules."""
    board = json.loads((MONITORING / "dashboard.json").read_text())
    expressions = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    return {
        name
        for text in (*expressions, (MONITORING / "alerts.yml").read_text())
        for name in NAME.findall(text)
    }


def lost(given, read, place="dashboard"):
    """Whatever Grafana's types have not taken up of a value."""
    if isinstance(given, dict) and isinstance(read, dict):
        for key, value in given.items():
            yield from lost(value, read.get(key), f"{place}.{key}")
    elif isinstance(given, list) and isinstance(read, list) and len(given) == len(read):
        for number, (one, other) in enumerate(zip(given, read, strict=True)):
            yield from lost(one, other, f"{place}[{number}]")
    elif given != read:
        yield place


def as_grafana_reads(board):
    """The board as the types generated from Grafana's own schemas hold it, panels and queries included."""
    encoder = pytest.importorskip("grafana_foundation_sdk.cog.encoder")
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

    register_default_plugins()
    return json.loads(json.dumps(Dashboard.from_json(board), cls=encoder.JSONEncoder))


def test_grafana_s_own_types_take_up_all_of_the_dashboard():
    board = json.loads((MONITORING / "dashboard.json").read_text())
    assert not list(lost(board, as_grafana_reads(board)))
    board["panels"][0]["targets"][0]["exprs"] = "up"
    board["panels"][0]["fieldConfig"]["defaults"]["uni"] = "s"
    assert list(lost(board, as_grafana_reads(board))) == [
        "dashboard.panels[0].targets[0].exprs",
        "dashboard.panels[0].fieldConfig.defaults.uni",
    ]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def peer(tmp_path):
    settings = quick_settings(page={"enabled": True, "port": free_port()}, estimates={"period": 2.0})
    with PeerProcess(tmp_path / "alice", settings, forked=True) as peer:
        peer.start("--plain").until_at(step=2)
        yield peer


def port_of(peer):
    return int(peer.status()["page"].rstrip("/").rpartition(":")[2])


def test_every_metric_of_the_dashboard_and_the_rules_exists(peer):
    deadline = time.monotonic() + 60
    while (peer.status()["estimates"] or {"mean": None})["mean"] is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    text = Client(port_of(peer)).get("/metrics").body.decode()
    there = set()
    for family in text_string_to_metric_families(text):
        suffix = "_total" if family.type == "counter" else ""
        there |= {f"{family.name}{suffix}", *(sample.name for sample in family.samples)}
    # Of a network of two and more.
    assert asked_for() - there <= {"gossipfl_network_consensus_distance"}
    assert len(asked_for()) > 15


@needs_prometheus
def test_the_rules_are_valid_and_fire_when_they_should():
    for command in (["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]):
        done = subprocess.run(
            ["promtool", *command], check=False, cwd=MONITORING, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@needs_prometheus
def test_a_real_prometheus_scrapes_a_peer_and_loads_the_rules(peer, tmp_path):
    for name in ("alerts.yml", "prometheus.yml"):
        text = (MONITORING / name).read_text().replace("127.0.0.1:9464", f"127.0.0.1:{port_of(peer)}")
        (tmp_path / name).write_text(text.replace("15s", "1s"))
    port = free_port()
    flags = (f"--config.file={tmp_path / 'prometheus.yml'}", f"--storage.tsdb.path={tmp_path / 'data'}")
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            ["prometheus", *flags, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log
        )
    try:

        def asked(path):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/{path}", timeout=10) as answer:
                return json.load(answer)["data"]

        def until(found, *, seconds=60):
            deadline = time.monotonic() + seconds
            while True:
                try:
                    if value := found():
                        return value
                except OSError:
                    assert process.poll() is None, (tmp_path / "log").read_text()
                assert time.monotonic() < deadline, (tmp_path / "log").read_text()
                time.sleep(0.2)

        def value_of(expression):
            result = asked(f"query?query={urllib.parse.quote(expression)}")["result"]
            return float(result[0]["value"][1]) if result else None

        until(lambda: value_of('up{job="gossipfl"}') == 1)
        until(lambda: (value_of("gossipfl_model_age_steps") or 0) > 1)
        rules = until(lambda: asked("rules")["groups"])[0]["rules"]
        assert len(rules) == 9
        assert until(lambda: {rule["health"] for rule in asked("rules")["groups"][0]["rules"]} == {"ok"})
        board = json.loads((MONITORING / "dashboard.json").read_text())
        for panel in board["panels"]:
            for target in panel["targets"]:
                expression = target["expr"].replace("$instance", ".*")
                asked(f"query?query={urllib.parse.quote(expression)}")  # an error of its grammar is a 400
    finally:
        process.terminate()
        process.wait(timeout=30)
