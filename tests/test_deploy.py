"""The files for containers, systemd and Kubernetes: linted, their commands parsed, what they set up made."""

import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml

from gossipfl import __version__
from gossipfl.cli import doctor, network, peer
from gossipfl.network import load_identity
from gossipfl.settings import load_settings
from gossipfl.settings.page import endpoint_of

DEPLOY = Path(__file__).parents[1] / "examples" / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
MANIFESTS = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))
(STATEFUL,) = (each for each in MANIFESTS if each["kind"] == "StatefulSet")
POD = STATEFUL["spec"]["template"]["spec"]
(CONTAINER,), (INIT,) = POD["containers"], POD["initContainers"]
UNIT = (DEPLOY / "gossipfl@.service").read_text()
PEERS = sorted(name for name in COMPOSE["services"] if name.startswith("peer-"))
GROUPS = {"peer": peer.app, "network": network.app, "doctor": doctor.app}


def lines(text):
    """The lines of a script or of comments, those that go on put together."""
    text = re.sub(r"\$\(\([^)]*\)\)", "0", re.sub(r"\\\n\s*", " ", text))
    return [line.strip().lstrip("#").strip() for line in text.splitlines()]


def commands():
    """Every command of ours in the files, as its arguments."""
    found = [COMPOSE["services"][name]["command"] for name in PEERS] + [CONTAINER["args"]]
    found += [COMPOSE["services"][name]["healthcheck"]["test"][2:] for name in PEERS]
    found += [CONTAINER[probe]["exec"]["command"][1:] for probe in ("startupProbe", "livenessProbe")]
    for file in DEPLOY.iterdir():
        if file.is_file():
            for line in lines(file.read_text()):
                for rest in re.findall(r"(?:^|[ /(])gossipfl ((?:peer|network|doctor) [^|<>)&;]*)", line):
                    found.append(shlex.split(rest.replace("%i", "alice")))
    for array in re.findall(
        r'\["gossipfl", ("[^\]]*)\]|^CMD \[("peer"[^\]]*)\]',
        (DEPLOY / "Containerfile").read_text(),
        re.MULTILINE,
    ):
        found.append([each.strip().strip('"') for each in "".join(array).split(",")])
    return found


def parse(arguments):
    """Parse a command as the command line does, without running it."""
    group = typer.main.get_command(GROUPS[arguments[0]])
    if not hasattr(group, "commands"):
        return group.make_context(arguments[0], list(arguments[1:]))
    return group.commands[arguments[1]].make_context(arguments[1], list(arguments[2:]))


def test_every_command_of_the_files_exists_with_its_options():
    found = commands()
    assert len(found) > 20
    assert {tuple(each[:2]) for each in found} >= {
        ("peer", "init"),
        ("peer", "run"),
        ("peer", "status"),
        ("peer", "roster"),
        ("network", "secret"),
        ("doctor", "--home"),
    }
    for arguments in found:
        parse(arguments)
    with pytest.raises(Exception, match="No such option"):
        parse(["peer", "run", "--hme", "x"])


@pytest.mark.parametrize("page", ["deploying.md", "operating.md"])
def test_every_command_of_the_operators_pages_exists_with_its_options(page):
    text = re.sub(r"\\\n\s*", " ", (DEPLOY.parents[1] / "docs" / page).read_text(encoding="utf-8"))
    found = re.findall(r"gossipfl ((?:peer|network|doctor) -*[a-z][^`|<>)&;#\n]*)", text)
    assert len(found) >= 5
    for command in found:
        words = [word for word in shlex.split(command.replace("$(date +%F", "now")) if word != "…"]
        if len(words) > 2:  # not only named
            parse(words)


def test_versions_ports_and_users_are_the_same_everywhere():
    container = (DEPLOY / "Containerfile").read_text()
    assert CONTAINER["image"] == INIT["image"] == f"gossipfl:{__version__}"
    assert f"--uid {POD['securityContext']['runAsUser']} " in container
    ports = {each["name"]: each["containerPort"] for each in CONTAINER["ports"]}
    assert re.search(r"^EXPOSE (.*)$", container, re.MULTILINE)[1] == " ".join(
        f"{each}/tcp" for each in ports.values()
    )
    for script in (INIT["command"][-1], (DEPLOY / "setup.sh").read_text()):
        (arguments,) = (shlex.split(line) for line in lines(script) if line.startswith("gossipfl peer init"))
        assert arguments[arguments.index("--network-listen") + 1] == f"/ip4/0.0.0.0/tcp/{ports['peer']}"
        assert endpoint_of(arguments[arguments.index("--page-metrics-at") + 1])[1] == ports["metrics"]
        assert f"peers={len(PEERS)}" in arguments
    assert STATEFUL["spec"]["replicas"] == len(PEERS)


def test_prometheus_scrapes_every_peer_of_the_compose_file(tmp_path):
    scraped = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"]
    assert scraped[0]["static_configs"][0]["targets"] == [f"{name}:9465" for name in PEERS]
    for mount in (*COMPOSE["services"]["prometheus"]["volumes"], *COMPOSE["services"]["grafana"]["volumes"]):
        source = mount.partition(":")[0]
        assert source in COMPOSE["volumes"] or (DEPLOY / source).exists(), mount


def test_peers_in_containers_have_no_rights():
    for name in ("setup", *PEERS):
        service = COMPOSE["services"][name]
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
    for container in (CONTAINER, INIT):
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert not container["securityContext"]["allowPrivilegeEscalation"]
    assert POD["securityContext"]["runAsNonRoot"]


def test_nobody_is_an_administrator_of_grafana_by_its_default_password():
    environment = COMPOSE["services"]["grafana"]["environment"]
    assert environment["GF_AUTH_BASIC_ENABLED"] == "false"
    assert environment["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true"


def test_only_monitoring_is_published_and_on_this_machine_alone():
    published = [port for each in COMPOSE["services"].values() for port in each.get("ports", ())]
    assert published
    assert all(each.startswith("127.0.0.1:") for each in published)


def linter(name):
    return pytest.mark.skipif(shutil.which(name) is None, reason=f"no {name} here")


def output(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert not done.returncode, done.stdout + done.stderr
    return done.stdout + done.stderr


@linter("hadolint")
def test_hadolint_has_nothing_to_say_of_the_container_file():
    assert output("hadolint", DEPLOY / "Containerfile") == ""


def test_the_manifests_are_valid_kubernetes():
    validate = pytest.importorskip("kubernetes_validate").validate
    for each in MANIFESTS:
        validate(each, "1.31", strict=True)


@linter("systemd-analyze")
def test_systemd_accepts_the_unit_and_finds_little_exposed(tmp_path):
    (tmp_path / "gossipfl@.service").write_text(UNIT.replace("/opt/gossipfl/bin/gossipfl", "/bin/true"))
    assert (
        output(
            "systemd-analyze",
            "verify",
            "--man=no",
            "gossipfl@alice.service",
            cwd=tmp_path,
            env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
        )
        == ""
    )
    said = output("systemd-analyze", "security", "--offline=true", tmp_path / "gossipfl@.service")
    assert float(re.search(r"Overall exposure level .*: ([\d.]+)", said)[1]) < 2.0
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str
    unit.read_string(UNIT)
    start = shlex.split(unit["Service"]["ExecStart"].replace("%i", "alice"))
    assert start[start.index("--home") + 1] == "/var/lib/gossipfl/alice"


@linter("podman-compose")
def test_podman_accepts_the_compose_file():
    said = output("podman-compose", "--file", "compose.yaml", "config", cwd=DEPLOY)
    assert set(yaml.safe_load(said[said.index("name:") :])["services"]) == set(COMPOSE["services"])


@linter("promtool")
def test_prometheus_accepts_its_configuration(tmp_path):
    shutil.copy(DEPLOY / "prometheus.yml", tmp_path)
    shutil.copy(DEPLOY.parent / "monitoring" / "alerts.yml", tmp_path)
    assert "SUCCESS" in output("promtool", "check", "config", tmp_path / "prometheus.yml")


@pytest.fixture
def environment(tmp_path):
    """Where `gossipfl` is the one of these sources."""
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "gossipfl"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m gossipfl "$@"\n')
    command.chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
        "PYTHONPATH": str(DEPLOY.parents[1]),
    }


@pytest.mark.slow
def test_the_compose_files_setup_makes_five_peers_with_one_secret_once(tmp_path, environment):
    homes = tmp_path / "homes"
    homes.mkdir()
    for _ in range(2):
        said = output("sh", DEPLOY / "setup.sh", env={**environment, "HOMES": str(homes)})
    assert "Made" not in said
    secrets = {(homes / name / "membership" / "secret").read_text() for name in PEERS}
    assert len(secrets) == 1
    first = load_identity(homes / "peer-1").peer_id
    assert (homes / "bootstrap").read_text() == f"/dns4/peer-1/tcp/4001/p2p/{first}\n"
    settings = [load_settings(homes / name / "peer.toml") for name in PEERS]
    assert [each.task.options["index"] for each in settings] == [0, 1, 2, 3, 4]
    assert all(
        (homes / name / each.bootstrap.file).samefile(homes / "bootstrap")
        for name, each in zip(PEERS, settings, strict=True)
    )
    assert not [path for path in homes.rglob("*") if path.stat().st_mode & 0o077 and path.name != "bootstrap"]


@pytest.mark.slow
def test_the_pods_are_made_from_what_the_manifest_says_to_prepare(tmp_path, environment):
    header = [line for line in lines((DEPLOY / "kubernetes.yaml").read_text()) if "gossipfl" in line][:4]
    prepare = "\n".join(line for line in header if line.startswith(("gossipfl", "echo")))
    output("sh", "-euc", prepare, cwd=tmp_path, env=environment)
    shared = tmp_path / "shared"
    shared.mkdir()
    for name in ("seed/membership/secret", "seed/identity.key", "bootstrap"):
        shutil.copy(tmp_path / name, shared)
    bootstrap = (shared / "bootstrap").read_text().strip()
    for number in (0, 3):
        homes = tmp_path / f"pod-{number}"
        script = INIT["command"][-1].replace("/var/lib/gossipfl", str(homes))
        pod = {**environment, "SHARED": str(shared), "HOSTNAME": f"gossipfl-{number}"}
        output(*INIT["command"][:2], script, env=pod)
        settings = load_settings(homes / "peer" / "peer.toml")
        assert settings.task.options["index"] == number
        is_first = load_identity(homes / "peer").peer_id == bootstrap.rpartition("/")[2]
        assert is_first == (number == 0)
        doctor_in_pod = ["gossipfl", "doctor", "--home", homes / "peer", "--json"]
        done = subprocess.run(doctor_in_pod, capture_output=True, text=True, check=False, env=pod)
        findings = {each["name"]: each for each in json.loads(done.stdout)["findings"]}
        assert findings["membership"]["seen"] == "the door is 'secret'"
        # The name of pod 0 means something inside the cluster only.
        wrong = [name for name, each in findings.items() if each["level"] == "error"]
        assert wrong == ([] if is_first else ["bootstrap"]), findings
