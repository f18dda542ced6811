"""Peers that are keyboards: they learn from what is typed, suggest, forget, and no word of it leaves them."""

from __future__ import annotations

import json
import math
import os
import resource
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
import trio

from gossipfl.cli.display import status_table
from gossipfl.errors import SettingError
from gossipfl.peer import Peer
from gossipfl.peer.saved_model import export_keyboard
from gossipfl.peer.store.backup import back_up
from gossipfl.settings.addresses import peer_id_of
from sims.analysis import load_runs
from sims.analysis.runs.problem import problem_of
from sims.replay import replay
from sims.replay.errors import KeyboardSealed
from tests.gossipfl.cli.test_main import cli
from tests.gossipfl.keyboard.owners import options_in
from tests.gossipfl.network.helpers import in_trio, until
from tests.gossipfl.peer.page.http_client import Client
from tests.integration.peers import REPOSITORY, quick_settings, records_of, running

__all__ = ["cli"]

pytest.importorskip("hypercorn")

CANARY = "xylophonequokka"


def keyboard_settings(directory, index=0, *, bootstrap=(), outgoing=(), **tables):
    tables = {
        "task": {"name": "next-word", "options": options_in(directory)},
        "keyboard": {"enabled": True},
        "page": {"enabled": True},
        "training": {"learning_rate": 0.5, "batch_size": 8},
        "exchange": {"patience": 0.01},
        "gate": {"enabled": False},
        **tables,
    }
    settings = quick_settings(index, bootstrap=bootstrap, outgoing=outgoing, **tables)
    return settings.model_copy(
        update={"task": settings.task.model_copy(update={"options": tables["task"]["options"]})}
    )


def client_of(home, address):
    return Client(int(address.rstrip("/").rpartition(":")[2]), home.page_token.read_text().strip())


async def ask(peer, path, **values):
    client = client_of(peer.home, peer.status().page)
    answer = await trio.to_thread.run_sync(lambda: client.post(f"/api/keyboard/{path}", values))
    assert answer.status == 200, answer.body
    return answer.json


async def type_all(peer, texts, first=0):
    for number, text in enumerate(texts, first):
        await ask(peer, "typed", message=number, text=text)


@in_trio
async def test_a_peer_trains_on_what_is_typed_suggests_it_and_forgets_it(tmp_path, caplog):
    pytest.importorskip("onnx")
    caplog.set_level(0)
    peer = Peer(tmp_path / "ada", settings=keyboard_settings(tmp_path))
    async with running(peer):
        await until(lambda: not peer.status().permission.trains)
        assert peer.status().step == 0
        await type_all(peer, ["see you tomorrow at home"] * 8 + [f"good night {CANARY}"] * 4)
        await until(lambda: peer.status().permission.trains)
        await until(lambda: records_of(peer.home, "data"))
        step = peer.status().step
        await until(lambda: peer.status().step > step + 100)
        assert (await ask(peer, "suggest", text="see you "))["suggestions"][0] == "tomorrow"
        assert (await ask(peer, "suggest", text="see the xy"))["suggestions"] == [CANARY]
        client = client_of(peer.home, peer.status().page)
        for path in ("/api/status", "/api/peers", "/api/view", "/metrics", "/healthz"):  # without the token
            told = await trio.to_thread.run_sync(client.get, path)
            assert told.status == 200
            assert CANARY.encode() not in told.body
        overview = await ask(peer, "overview")
        assert overview["today"]["words"] == 8 * 5 + 4 * 3
        assert overview["today"]["new_words"] == [CANARY]
        assert overview["messages"] == 12
        assert overview["loop"]["improved"]["count"] > 0
        assert (await ask(peer, "forget", word=CANARY)) == {"forgotten": 4}
        assert (await ask(peer, "suggest", text="see the xy"))["suggestions"] == []
        assert (await ask(peer, "overview"))["today"]["new_words"] == []
        await ask(peer, "forget", everything=True)
        await until(lambda: not peer.status().permission.trains)
        times = len(records_of(peer.home, "data"))
        await type_all(peer, ["good morning. see you soon"], first=50)
        await until(lambda: len(records_of(peer.home, "data")) > times)
        assert records_of(peer.home, "data")[-1]["samples"] == 1
    reasons = [each["reasons"] for each in records_of(peer.home, "permission")]
    assert ["nothing_typed"] in reasons
    assert CANARY not in caplog.text
    assert_nowhere(peer.home, CANARY)
    back_up(peer.home, tmp_path / "backup")
    with tarfile.open(tmp_path / "backup") as saved:
        parts = {each.name: saved.extractfile(each).read() for each in saved if each.isfile()}
    export_keyboard(peer.home, tmp_path / "exported")
    parts |= {each.name: each.read_bytes() for each in (tmp_path / "exported").iterdir()}
    assert {"checkpoint.safetensors", "model.onnx", "words.txt"} <= set(parts)
    assert not any(CANARY.encode() in content.lower() for content in parts.values())


def assert_nowhere(home, word):
    """No file of a home has a word in the clear, in any case."""
    for path in home.directory.rglob("*"):
        if path.is_file():
            assert word.encode() not in path.read_bytes().lower(), path


@in_trio
async def test_a_keyboard_shows_no_figure_until_something_is_typed_nor_after_all_is_forgotten(tmp_path):
    own = {"evaluation": {"period": 0.05}}
    peer = Peer(tmp_path / "ada", settings=keyboard_settings(tmp_path, **own))
    async with running(peer):
        client = client_of(peer.home, peer.status().page)

        async def has_figures():
            await peer._incarnation.housekeeping.evaluate()
            told = await trio.to_thread.run_sync(client.get, "/metrics")
            row = "measured" in [str(cell) for cell in status_table(peer.status().to_dict()).columns[0].cells]
            shown = {b"gossipfl_test_metric{" in told.body, bool(peer.status().metrics), not row}
            assert len(shown) == 1
            return shown.pop()

        assert not await has_figures()
        assert not records_of(peer.home, "evaluation")
        await type_all(peer, ["see you tomorrow at home. good night"] * 4)
        await until(lambda: "recall" in peer.status().metrics)
        assert await has_figures()
        await ask(peer, "forget", everything=True)
        await until(lambda: not peer.status().metrics)
        assert not await has_figures()
    assert records_of(peer.home, "evaluation")


def test_an_analysis_of_a_keyboard_says_where_its_text_is_and_shows_what_it_measured(tmp_path):
    @in_trio
    async def lived():
        own = {"evaluation": {"period": 0.05}, "page": {"enabled": False}}
        peer = Peer(tmp_path / "ada", settings=keyboard_settings(tmp_path, **own))
        async with running(peer):
            for number in range(4):
                await peer._incarnation.typing.write(number, "see you tomorrow at home. good night")
            await until(lambda: "recall" in peer.status().metrics and peer.status().step > 0)

    lived()
    (run,) = load_runs([tmp_path / "ada"])
    said = "encrypted store of its home, on purpose"
    assert any(said in note for note in run.notes)
    assert 0 <= run.last("recall_mean") <= 1
    for refused in (lambda: problem_of(run), lambda: replay([tmp_path / "ada"])):
        with pytest.raises(KeyboardSealed, match=said) as error:
            refused()
        assert "enabled" not in str(error.value)


@in_trio
async def test_requests_that_are_wrong_are_refused_and_never_repeated_to_logs(tmp_path, caplog):
    caplog.set_level(0)
    peer = Peer(tmp_path / "ada", settings=keyboard_settings(tmp_path))
    async with running(peer):
        client = client_of(peer.home, peer.status().page)

        def post(path, body, **options):
            return client.request("POST", f"/api/keyboard/{path}", body=body, **options)

        def tried():
            yield post("typed", {"message": 0, "text": CANARY}), 401
            yield post("typed", {"message": 0, "text": CANARY}, headers={"Authorization": "Bearer x"}), 401
            elsewhere = {"Origin": "https://example.org"}
            yield post("typed", {"message": 0, "text": CANARY}, headers=elsewhere, authorised=True), 403
            rebound = {"Host": "example.org"}
            yield post("suggest", {"text": CANARY}, headers=rebound, authorised=True), 421
            for path, body in (
                ("typed", {"message": -1, "text": CANARY}),
                ("typed", {"message": 0, "text": [CANARY]}),
                ("typed", {"message": 0, "text": CANARY, CANARY: 1}),
                ("typed", {"message": 0, "text": CANARY * 1000}),
                ("suggest", {"text": [CANARY]}),
                ("suggest", {}),
                ("forget", {"word": ""}),
                ("forget", {"day": CANARY}),
                ("forget", {"everything": CANARY}),
                ("forget", {}),
            ):
                yield post(path, body, authorised=True), 400

        answers = await trio.to_thread.run_sync(lambda: list(tried()))
        for answer, status in answers:
            assert answer.status == status, answer.body
            assert answer.json["error"]["got"], answer.body
            assert CANARY.encode() not in answer.body
        get = await trio.to_thread.run_sync(lambda: client.get("/api/keyboard/overview"))
        assert get.status == 405
        assert (await ask(peer, "overview"))["messages"] == 0
    assert CANARY not in caplog.text
    assert_nowhere(peer.home, CANARY)


@in_trio
async def test_a_keyboard_tells_nobody_how_well_its_words_are_foreseen(tmp_path):
    """Else a neighbour whose model foresees one word alone is told how often the owner writes it."""
    own = {"estimates": {"period": 1.0}, "evaluation": {"period": 0.2}, "page": {"enabled": False}}
    ada = Peer(tmp_path / "ada", settings=keyboard_settings(tmp_path, **own))
    async with running(ada):
        for number in range(8):
            await ada._incarnation.typing.write(number, "see you tomorrow at home")
        await until(lambda: "recall" in ada.status().metrics and ada.status().step > 0)
        bootstrap = ada.status().addresses
        ben = Peer(tmp_path / "ben", settings=keyboard_settings(tmp_path, 1, bootstrap=bootstrap, **own))
        async with running(ben):
            heard = {}

            def reports():
                for sample in ben._incarnation.reports._samples.values():
                    heard.update({peer_id_of(each.key): each for each in sample.reports})
                return heard

            await until(lambda: ada.status().peer_id in reports())
            assert math.isnan(heard[ada.status().peer_id].metric)
            await until(lambda: (ben.status().estimates or {}).get("peers") == 2)
            assert ben.status().estimates["mean"] is None
            assert ben.status().estimates["consensus_distance"] is not None


DYING = """
import os, resource, sys
from pathlib import Path
most = resource.getrlimit(resource.RLIMIT_CORE)[1]
resource.setrlimit(resource.RLIMIT_CORE, (most, most))
if sys.argv[1] == "keyboard":
    from gossipfl.peer import Home
    from gossipfl.peer.typing import open_keyboard
    from gossipfl.tasks.words.next_word import next_word
    from tests.integration.test_keyboard import keyboard_settings
    settings = keyboard_settings(Path())
    keyboard = open_keyboard(Home(Path()), settings, next_word(**settings.task.options))
os.abort()
"""


def cores_are_written_here():
    """Whether a process that is aborted leaves a file in its directory: not if a program gets the image."""
    pattern = Path("/proc/sys/kernel/core_pattern")
    return (
        pattern.exists()
        and not set("/|") & set(pattern.read_text())
        and resource.getrlimit(resource.RLIMIT_CORE)[1] != 0
    )


@pytest.mark.skipif(not cores_are_written_here(), reason="no core files here")
def test_a_crash_leaves_no_image_of_the_memory(tmp_path):
    """What is typed is in the clear there. Without a keyboard there is one, or this would show nothing."""
    for kind in ("none", "keyboard"):
        folder = tmp_path / kind
        folder.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", DYING, kind],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            check=False,
            capture_output=True,
        )
        assert done.returncode == -signal.SIGABRT, done.stderr
        assert bool(list(folder.glob("core*"))) is (kind == "none")


def test_other_machines_cannot_read_a_keyboard_s_metrics(tmp_path):
    settings = keyboard_settings(tmp_path, page={"enabled": True, "metrics_at": "127.0.0.1:0"})
    with pytest.raises(SettingError, match="metrics of a keyboard tell of what its owner writes"):
        trio.run(Peer(tmp_path / "ada", settings=settings).run)


def test_a_peer_without_a_keyboard_serves_none(tmp_path):
    @in_trio
    async def run():
        peer = Peer(tmp_path / "ada", settings=quick_settings(page={"enabled": True}))
        async with running(peer):
            client = client_of(peer.home, peer.status().page)
            answer = await trio.to_thread.run_sync(lambda: client.get("/keyboard"))
            assert answer.status == 404
            assert peer.status().keyboard is None

    run()


def wait_for_page(process):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            status = json.loads(process.home.status.read_bytes())
        except (OSError, ValueError):
            status = {}
        if status.get("page") and status["process"] == process.process.pid:
            return status["page"]
        time.sleep(0.05)
    raise AssertionError("the peer did not start")


def test_a_keyboard_without_any_text_yet_is_made_and_takes_part_in_counting_words(cli, tmp_path):
    home = tmp_path / "ada"
    code, _out, err = cli("peer", "init", "--home", home, "--keyboard-enabled")
    assert code != 0 and not home.exists()
    assert "keyboard needs a task that suggests words; expected task.name = 'next-word'; got 'digits'" in err
    options = ["--option", "text=typed", "--option", "size=tiny", "--keyboard-enabled", "--page-enabled"]
    code, out, err = cli("peer", "init", "--home", home, "--task", "next-word", *options)
    assert code == 0, err
    assert "samples" not in out
    members = [f"--member={name}" for name in "abcdefghijklmnopqrst"]
    few = ["--offered", "4", "--own", "1", "--rounds", "4", "--dry-run"]
    code, out, err = cli("stats", "words", "--home", home, *members, *few)
    assert (code, out) == (0, "These would be counted: none\n"), err
