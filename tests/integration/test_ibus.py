"""The IBus bridge on a desktop without a screen: a peer's word is taken into a program, a password left alone."""

import json
import os
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from gossipfl.keyboard.store import TypingStore
from tests.integration.peers import PeerProcess
from tests.integration.test_keyboard import client_of, keyboard_settings, wait_for_page

pytest.importorskip("hypercorn")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

HERE = Path(__file__).parent
SCRIPT = HERE.parents[1] / "examples" / "ibus" / "gossipfl_ibus.py"
PYTHON = "/usr/bin/python3"  # the desktop's, which has its bindings
NEEDED = (
    "import gi; gi.require_version('IBus', '1.0'); gi.require_version('Gtk', '3.0'); "
    "from gi.repository import Gtk, IBus"
)


def lacking():
    """What the machine lacks for this test."""
    missing = [
        name for name in ("ibus-daemon", "Xvfb", "dbus-run-session", "xdotool") if not shutil.which(name)
    ]
    if missing:
        return ", ".join(missing)
    found = subprocess.run([PYTHON, "-c", NEEDED], capture_output=True, check=False)
    return "" if found.returncode == 0 else "gir1.2-ibus-1.0, gir1.2-gtk-3.0 or python3-gi"


@contextmanager
def screen(directory):
    """A display without a screen; its name."""
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "640x480x24"],
        pass_fds=[write],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    try:
        with os.fdopen(read) as told:
            yield f":{told.readline().strip()}"
    finally:
        server.terminate()
        server.wait()


def test_a_suggested_word_is_taken_into_a_program_and_a_password_never_leaves_it(tmp_path):
    if missing := lacking():
        pytest.skip(f"the desktop's input methods are not installed: {missing}")
    with PeerProcess(tmp_path / "ada", keyboard_settings(tmp_path)) as peer:
        peer.start()
        page = wait_for_page(peer)
        client = client_of(peer.home, page)
        for number in range(8):
            typed = {"message": number, "text": "see you tomorrow at home"}
            assert client.post("/api/keyboard/typed", typed).status == 200
        deadline = time.monotonic() + 120
        while client.post("/api/keyboard/suggest", {"text": "see you to"}).json["suggestions"][:1] != [
            "tomorrow"
        ]:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        run = tmp_path / "run"
        run.mkdir(mode=0o700)
        with screen(tmp_path) as display:
            desktop = {
                "PATH": os.environ["PATH"],
                "DISPLAY": display,
                "GTK_IM_MODULE": "ibus",
                "GSETTINGS_BACKEND": "memory",
                "XDG_RUNTIME_DIR": str(run),
                "XDG_CONFIG_HOME": str(run),
                "HOME": str(run),
            }
            command = ["dbus-run-session", "--", PYTHON, str(HERE / "ibus_desktop.py"), str(SCRIPT)]
            ended = subprocess.run(
                [*command, str(peer.home.directory), page],
                env=desktop,
                capture_output=True,
                text=True,
                check=False,
            )
        assert ended.returncode == 0, (ended.stdout, ended.stderr)
        fields = json.loads(ended.stdout.splitlines()[-1])
        assert fields == {"plain": "see you tomorrow quokkaword ", "secret": "wombatword x "}
    store = TypingStore(peer.home.typing)
    texts = [each.text for each in store.texts()]
    store.close()
    assert "see you tomorrow quokkaword " in texts
    assert not any("wombat" in text for text in texts)
