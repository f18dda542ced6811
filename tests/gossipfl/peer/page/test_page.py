"""A running peer over HTTP: what it tells, whom it obeys, and what it refuses."""

import contextlib
import http.client
import json
import re
import socket
import stat
import time
from pathlib import Path

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from gossipfl.errors import HomeError, SettingError
from gossipfl.peer import Peer
from gossipfl.peer.page.health import health_of
from gossipfl.peer.page.token import load_or_create_token
from gossipfl.settings.page import endpoint_of
from tests.gossipfl.cli.test_main import cli
from tests.gossipfl.peer.page.http_client import Client
from tests.integration.peers import PeerProcess, quick_settings

__all__ = ["cli"]


PATIENT = {"network": {"silence_seconds": 60.0}}


def until(condition, *, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    directory = tmp_path_factory.mktemp("page")
    with PeerProcess(
        directory / "alice",
        quick_settings(page={"enabled": True}, evaluation={"merge_samples": 16}, **PATIENT),
        forked=True,
    ) as alice:
        alice.start("--plain").until_at(step=1)
        settings = quick_settings(1, bootstrap=alice.status()["addresses"], **PATIENT)
        with PeerProcess(directory / "bob", settings, forked=True) as bob:
            bob.start("--plain")
            until(lambda: any(each["effect"] for each in alice.status()["peers"]))
            yield alice, bob


@pytest.fixture(scope="module")
def peer(network):
    return network[0]


@pytest.fixture(scope="module")
def client(peer):
    port = int(re.fullmatch(r"http://127\.0\.0\.1:(\d+)/", peer.status()["page"])[1])
    return Client(port, peer.home.page_token.read_text().strip())


def test_the_status_and_the_peers_are_those_of_the_commands(client, network):
    alice, bob = network
    status = client.get("/api/status")
    assert status.status == 200
    assert status.json.keys() == alice.status().keys()
    assert status.json["peer_id"] == alice.status()["peer_id"]
    (seen,) = client.get("/api/peers").json
    assert seen["peer_id"] == bob.status()["peer_id"]
    assert seen["connected"]
    assert seen["merges"] > 0
    assert seen["effect"]["merges"] > 0
    assert isinstance(seen["effect"]["mean"], float)
    assert all(each["effect"] is None for each in bob.status()["peers"])  # not asked for


def test_the_view_has_events_after_a_number_and_a_history(client):
    view = until(lambda: (found := client.get("/api/view").json)["history"] and found)
    numbers = [event["number"] for event in view["events"]]
    assert numbers == sorted(set(numbers))
    assert {"merge", "exchange"} <= {event["kind"] for event in view["events"]}
    later = client.get(f"/api/view?after={numbers[-1]}&since={view['history'][-1]['time']}").json
    assert all(event["number"] > numbers[-1] for event in later["events"])
    assert all(each["time"] > view["history"][-1]["time"] for each in later["history"])
    assert client.get("/api/view?after=much").error == "invalid_request"
    assert client.get("/api/view?after=nan").error == "invalid_request"


def test_metrics_are_named_by_the_conventions_and_have_no_label_of_a_stranger(client, network):
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = {family.name: family for family in text_string_to_metric_families(answer.body.decode())}
    own = {name: family for name, family in families.items() if name.startswith("gossipfl_")}
    assert own["gossipfl_model_age_steps"].samples[0].value > 0
    assert own["gossipfl_healthy"].samples[0].value == 1
    exchanges = {sample.labels["outcome"]: sample.value for sample in own["gossipfl_exchanges"].samples}
    assert exchanges["ok"] > 0
    for name, family in own.items():
        assert re.fullmatch(r"gossipfl_[a-z_]+", name)
        assert family.documentation
        if family.type == "counter":
            assert all(sample.name.endswith(("_total", "_created")) for sample in family.samples)
    assert "process_resident_memory_bytes" in families
    bob = network[1].status()["peer_id"]
    assert bob not in answer.body.decode()


def test_a_healthy_peer_is_healthy(client):
    answer = until(lambda: (found := client.get("/healthz")).status == 200 and found)
    assert answer.json == {"healthy": True, "paused": False, "waiting": None, "problems": []}


def test_predictions_are_those_of_the_current_model(client, peer):
    inputs = [[0.5] * 16, [-0.5] * 16]
    answer = client.post("/predict", {"inputs": inputs})
    assert answer.status == 200
    assert [len(row) for row in answer.json["outputs"]] == [len(answer.json["outputs"][0])] * 2
    largest = [row.index(max(row)) for row in answer.json["outputs"]]
    assert answer.json["largest"] == largest
    assert answer.json["age"] > 0
    whole = client.post("/predict", {"inputs": [[1] * 16]})  # whole numbers are numbers too
    assert whole.status == 200


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": [[1.0, 2.0]]},
        {"inputs": [[1.0], [1.0, 2.0]]},
        {"inputs": []},
        {"inputs": "all"},
        {"inputs": None},
        {"inputs": {"0": 1}},
        {"input": [[0.0] * 16]},
        {"inputs": [[0.0] * 16], "more": 1},
        b"[1]",
        b"{",
        b'{"inputs": [[NaN, 1, 1, 1, 1, 1, 1, 1]]}',
        b"[" * 100_000,
    ],
)
def test_inputs_that_are_none_are_refused_by_name(client, body):
    answer = client.post("/predict", body, headers={"Content-Type": "application/json"})
    assert (answer.status, answer.error) == (400, "invalid_request")


def test_only_the_token_steers(client, peer):
    for path in ("/api/pause", "/api/resume", "/api/leave", "/predict"):
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": client.token}):
            answer = client.request("POST", path, body=b"", headers=headers)
            assert (answer.status, answer.error) == (401, "token_missing")
    assert stat.S_IMODE(peer.home.page_token.stat().st_mode) == 0o600
    assert not peer.home.requests.exists()


def test_pause_and_resume(client, peer):
    def paused():
        return client.get("/healthz").json["paused"]

    assert client.post("/api/pause").status == 202
    until(paused)
    age = client.get("/api/status").json["age"]
    assert client.post("/api/resume").status == 202
    until(lambda: not paused() and client.get("/api/status").json["age"] > age)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", ""])
def test_other_hosts_are_refused_as_after_dns_rebinding(client, host):
    answer = client.get("/api/status", headers={"Host": host.format(port=client.port)})
    assert (answer.status, answer.error) == (421, "host_not_allowed")


def test_localhost_is_this_host(client):
    assert client.get("/api/status", headers={"Host": f"localhost:{client.port}"}).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_other_sites_are_refused_with_the_token_too(client, headers):
    answer = client.post("/api/leave", headers=headers)
    assert (answer.status, answer.error) == (403, "origin_not_allowed")


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_sites_read_nothing_and_cost_little_but_may_link_here(client, site):
    """Pictures and scripts that another site's page asks for come without an Origin."""
    for mode in ("no-cors", "cors", "websocket"):
        headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode}
        for path in ("/api/view", "/metrics", "/page.js"):
            answer = client.get(path, headers=headers)
            assert (answer.status, answer.error) == (403, "origin_not_allowed")
    link = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate"}
    assert client.get("/", headers=link).status == 200
    assert client.post("/api/leave", headers=link).status == 403
    own = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}
    assert client.get("/api/view", headers=own).status == 200


def test_answers_forbid_browsers_all_but_the_page_itself(client):
    headers = client.get("/api/status").headers
    assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
    assert headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in headers
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("method", "path", "status", "name"),
    [
        ("GET", "/etc/passwd", 404, "path_unknown"),
        ("GET", "/../page.token", 404, "path_unknown"),
        ("POST", "/api/explode", 404, "path_unknown"),
        ("POST", "/healthz", 405, "method_not_allowed"),
        ("GET", "/api/leave", 405, "method_not_allowed"),
        ("DELETE", "/api/status", 405, "method_not_allowed"),
    ],
)
def test_what_is_not_served_is_refused_by_name(client, method, path, status, name):
    answer = client.request(method, path, authorised=True)
    assert (answer.status, answer.error) == (status, name)


def test_large_bodies_and_headers_are_refused(client):
    large = client.post("/predict", b" " * (1 << 21), headers={"Content-Type": "application/json"})
    assert (large.status, large.error) == (413, "request_too_large")
    many = client.get("/healthz", headers={"X-Large": "x" * 40_000})
    assert (many.status, many.error) == (431, "headers_too_large")
    assert client.get("/api/status").status == 200


def test_connections_beyond_the_limit_are_closed_and_leave_room_when_they_end(client):
    silent = [socket.create_connection(("127.0.0.1", client.port)) for _ in range(64)]
    try:
        closed = 0
        for each in silent[32:]:
            each.settimeout(10)
            try:
                closed += each.recv(1) == b""
            except ConnectionResetError:
                closed += 1
        assert closed == 32
    finally:
        for each in silent:
            each.close()

    def answered():
        try:
            return client.get("/api/status").status == 200
        except OSError:
            return False

    until(answered)


def resident(process):
    """Largest memory that a process has held, in MB."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    [line] = [each for each in lines if each.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def test_a_long_text_among_many_short_ones_takes_no_memory(client, peer):
    before = resident(peer.status()["process"])
    body = json.dumps({"inputs": ["x" * 4000] + ["y"] * 40_000}).encode()
    answer = client.post("/predict", body, headers={"Content-Type": "application/json"})
    assert answer.error == "invalid_request"
    assert resident(peer.status()["process"]) - before < 100


@pytest.mark.parametrize(
    "opening",
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]),
        b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: Upgrade, HTTP2-Settings\r\n"
        b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
    ],
    ids=["known before", "upgraded"],
)
def test_one_connection_makes_one_request_at_a_time(client, opening):
    with socket.create_connection(("127.0.0.1", client.port), timeout=10) as connection:
        connection.sendall(opening % client.port if b"%d" in opening else opening)
        assert connection.recv(12).startswith((b"HTTP/1.1 200", b"HTTP/1.1 4"))


def test_the_command_prints_the_address_with_the_token(cli, peer, client):
    code, out, _ = cli("peer", "page", "--home", peer.home.directory)
    assert (code, out.strip()) == (0, f"http://127.0.0.1:{client.port}/#token={client.token}")
    code, out, _ = cli("peer", "page", "--home", peer.home.directory, "--json")
    assert json.loads(out)["token"] == client.token


def test_a_peer_without_a_page_says_how_to_get_one(cli, network):
    code, _, err = cli("peer", "page", "--home", network[1].home.directory)
    assert code == 2
    assert "--page-enabled" in err


def test_tokens_for_messages_are_in_the_status_the_command_and_the_metrics(cli, tmp_path):
    flow = {"kind": "simple", "capacity": 3}
    gossip = {"flow": flow, "sharing": {"kind": "partitioned", "parts": 4}}
    settings = quick_settings(gossip=gossip, exchange={"mode": "push"}, page={"enabled": True})
    with PeerProcess(tmp_path / "dora", settings, forked=True) as dora:
        dora.start("--plain").until_at(step=1)
        client = Client(int(dora.status()["page"].rstrip("/").rpartition(":")[2]))
        # Nobody answers, so what is earned for the part that goes next is kept.
        told = until(lambda: (told := client.get("/api/status").json["flow"])["tokens"].count(3) and told)
        assert told == {**flow, "reserve": 10, "useful": "not_older", "tokens": told["tokens"]}
        assert sorted(told["tokens"]) == [0, 0, 0, 3]
        metrics = client.get("/metrics").body.decode()
        assert "\ngossipfl_tokens 3.0\n" in metrics
        assert "\ngossipfl_tokens_limit 12.0\n" in metrics
        until(lambda: dora.status()["flow"] == told)
        _, out, _ = cli("peer", "status", "--home", dora.home.directory)
        tokens = ", ".join(map(str, told["tokens"]))
        assert f"{tokens} of at most 3 (simple), in the accounts of the parts" in " ".join(out.split())


def test_without_tokens_none_are_told(client):
    assert client.get("/api/status").json["flow"] is None
    assert "gossipfl_tokens" not in client.get("/metrics").body.decode()


def test_leave_ends_the_peer_with_a_farewell(tmp_path):
    with PeerProcess(tmp_path / "carol", quick_settings(page={"enabled": True}), forked=True) as carol:
        carol.start("--plain").until_at(step=1)
        port = int(carol.status()["page"].rstrip("/").rpartition(":")[2])
        assert Client(port, carol.home.page_token.read_text().strip()).post("/api/leave").status == 202
        assert carol.process.wait(timeout=60) == 0
        assert "left" in carol.out or "leave" in carol.home.log.read_text()


def test_a_port_in_use_is_named(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        peer = Peer(tmp_path / "dave", settings=quick_settings(page={"enabled": True, "port": port}))
        with pytest.raises(BaseException) as raised:
            trio.run(peer.run)
    error = raised.value
    while isinstance(error, BaseExceptionGroup):
        (error,) = error.exceptions
    assert isinstance(error, SettingError)
    assert f"page.port {port}" in str(error)


def test_a_token_that_others_can_read_is_refused(tmp_path):
    path = tmp_path / "page.token"
    token = load_or_create_token(path)
    assert load_or_create_token(path) == token
    path.chmod(0o640)
    with pytest.raises(HomeError, match="mode 600"):
        load_or_create_token(path)
    path.chmod(0o600)
    path.write_text("short\n")
    with pytest.raises(HomeError, match="holds no token"):
        load_or_create_token(path)


def test_problems_are_unhealthy_and_an_operators_wishes_are_not():
    def health(*names, since=1.0):
        held = [{"name": name, "text": f"{name}!", "since": 0.0} for name in names]
        return health_of(held, seconds_since_change=since, patience=60.0)

    assert health()["healthy"]
    assert health("restored", "clock")["healthy"]
    assert not health("disk")["healthy"]
    assert health("alone", "paused")["problems"] == [{"name": "alone", "text": "alone!"}]
    assert health(since=61.0)["problems"][0]["name"] == "stalled"
    assert health("paused", since=61.0)["healthy"]
    assert health("policy", since=61.0) == {
        "healthy": True, "paused": False, "waiting": "policy!", "problems": [],
    }  # fmt: skip
    assert not health("policy", "readings")["healthy"]


def ask(port, method, path, **headers):
    """The status of an answer at 127.0.0.2."""
    connection = http.client.HTTPConnection("127.0.0.2", port, timeout=10)
    try:
        connection.request(method, path, headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.fixture(scope="module")
def public(tmp_path_factory):
    """A peer that is read from elsewhere, and where."""
    with socket.create_server(("127.0.0.2", 0)) as free:
        port = free.getsockname()[1]
    settings = quick_settings(
        bootstrap=["/ip4/127.0.0.1/tcp/1/p2p/12D3KooWSN1idCgWeCYPzpZ7HpXcaJjV1zrwQyKjPDkjrLHVTYcB"],
        page={"enabled": True, "metrics_at": f"127.0.0.2:{port}"},
    )
    with PeerProcess(tmp_path_factory.mktemp("public") / "alice", settings, forked=True) as alice:
        alice.start("--plain").until_at(step=1)
        yield alice, port


def test_other_machines_learn_which_problems_there_are_and_not_with_whom(public):
    alice, port = public
    until(lambda: any(each["name"] == "alone" for each in alice.status()["conditions"]))
    connection = http.client.HTTPConnection("127.0.0.2", port, timeout=10)
    connection.request("GET", "/healthz")
    told = json.loads(connection.getresponse().read())
    assert told == {"healthy": False, "paused": False, "waiting": False, "problems": ["alone"]}


def test_one_address_cannot_keep_the_others_from_the_metrics(public):
    _, port = public
    crowd = [socket.create_connection(("127.0.0.2", port)) for _ in range(32)]
    try:
        for each in crowd:
            each.sendall(b"G")
        other = http.client.HTTPConnection("127.0.0.2", port, timeout=10, source_address=("127.0.0.3", 0))
        other.request("GET", "/metrics")
        assert other.getresponse().status == 200
    finally:
        for each in crowd:
            each.close()


def test_a_flood_of_requests_waits_and_costs_the_peer_little(public):
    _, port = public
    with socket.create_connection(("127.0.0.2", port), source_address=("127.0.0.4", 0)) as flood:
        flood.settimeout(0.5)
        flood.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n" * 1000)
        answers, deadline = b"", time.monotonic() + 4
        while time.monotonic() < deadline:
            with contextlib.suppress(TimeoutError):
                answers += flood.recv(1 << 20)
    assert 1 < answers.count(b"HTTP/1.1 200") < 120


def test_other_machines_read_metrics_and_health_and_nothing_else(tmp_path):
    with socket.create_server(("127.0.0.2", 0)) as free:
        port = free.getsockname()[1]
    settings = quick_settings(page={"enabled": True, "metrics_at": f"127.0.0.2:{port}"})
    with PeerProcess(tmp_path / "alice", settings, forked=True) as alice:
        alice.start("--plain").until_at(step=1)
        token = f"Bearer {alice.home.page_token.read_text().strip()}"
        assert ask(port, "GET", "/metrics", Host="peer-1.example:9465") == 200
        assert ask(port, "GET", "/healthz") in {200, 503}
        for path in ("/", "/page.js", "/api/status", "/api/peers", "/api/view"):
            assert ask(port, "GET", path) == 404, path
        for path in ("/predict", "/api/pause", "/api/leave"):
            assert ask(port, "POST", path, Authorization=token) == 404, path
        assert ask(port, "POST", "/metrics", Authorization=token) == 405
        assert ask(port, "GET", "/metrics", Origin="https://example.org") == 403
        with socket.socket() as local, pytest.raises(ConnectionRefusedError):
            local.connect(("127.0.0.1", port))


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("0.0.0.0:9465", ("0.0.0.0", 9465)),
        ("[::]:0", ("::", 0)),
        ("[2001:DB8::1]:65535", ("2001:db8::1", 65535)),
    ],
)
def test_an_address_for_metrics_is_read(text, endpoint):
    assert endpoint_of(text) == endpoint


@pytest.mark.parametrize(
    "text",
    [
        "9465",
        ":9465",
        "localhost:9465",
        "0.0.0.0:65536",
        "0.0.0.0:-1",
        "::1:9465",
        "1.2.3:1",
        "0.0.0.0:\u0661",
    ],
)
def test_other_addresses_for_metrics_are_named(text):
    with pytest.raises(SettingError, match="is no IP address and port"):
        quick_settings(page={"metrics_at": text})
