"""A desktop with IBus and a program that takes text, for a test: run by its own Python inside a D-Bus session.

Arguments: the engine's script, a peer's home, its page. Types with xdotool, and prints what the fields hold.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

ENTRY = """
import gi, sys
gi.require_version("Gtk", "3.0")
from gi.repository import Gtk
box, window = Gtk.Box(), Gtk.Window(title="two fields")
for name in ("plain", "secret"):
    entry = Gtk.Entry()
    if name == "secret":
        entry.set_input_purpose(Gtk.InputPurpose.PASSWORD)
        entry.set_visibility(False)
    entry.connect("changed", lambda entry, name=name: print(name, entry.get_text(), flush=True))
    box.add(entry)
window.add(box)
window.show_all()
Gtk.main()
"""


def until(condition, what, seconds=90):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"not in time: {what}")
        time.sleep(0.1)


def asked(*command):
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def main():
    script, home, page = sys.argv[1:]
    here = Path(os.environ["XDG_RUNTIME_DIR"])
    fields = {"plain": "", "secret": ""}
    out = here / "fields"

    def read():
        for line in out.read_text().splitlines():
            name, _, text = line.partition(" ")
            fields[name] = text
        return fields

    started = [
        subprocess.Popen(["ibus-daemon", "--xim", "--panel", "disable", "--config", "disable"], stderr=-3)
    ]
    try:
        until(lambda: "unix:" in asked("ibus", "address"), "ibus-daemon")
        engine = [sys.executable, script, "--home", home, "--page", page]
        started.append(subprocess.Popen(engine, stdout=subprocess.PIPE, text=True))
        assert started[-1].stdout.readline() == "ready\n"
        with out.open("w") as file:
            started.append(subprocess.Popen([sys.executable, "-c", ENTRY], stdout=file, stderr=-3))

        def is_ready():
            asked("xdotool", "search", "--onlyvisible", "--name", "two fields", "windowfocus")
            asked("ibus", "engine", "gossipfl")
            return (
                asked("xdotool", "getwindowfocus", "getwindowname") == "two fields"
                and asked("ibus", "engine") == "gossipfl"
            )

        until(is_ready, "the window")
        asked("xdotool", "type", "--delay", "50", "see you to")
        until(lambda: read()["plain"] == "see you to", "typing")

        def took():
            asked("xdotool", "key", "alt+1")
            return read()["plain"] != "see you to"

        until(took, "a suggestion")
        asked("xdotool", "type", "--delay", "50", "quokkaword ")
        asked("xdotool", "key", "Return", "Tab")
        asked("xdotool", "type", "--delay", "50", "wombatword x ")
        until(lambda: read()["secret"] == "wombatword x ", "typing a password")
        print(json.dumps(read()))
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait()


main()
