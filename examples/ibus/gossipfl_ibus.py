"""An IBus engine for Linux desktops: words that a running peer suggests, in every program that takes text.

    python3 gossipfl_ibus.py --home HOME --page http://127.0.0.1:PORT/

It needs the desktop's own Python with IBus's bindings (Debian: ``apt install ibus gir1.2-ibus-1.0 python3-gi``)
and a peer that is a keyboard with its page; nothing else, and nothing of gossipfl. Keys reach the program as
ever. Beside the cursor stand three words: Alt+1, Alt+2 and Alt+3 take one, Alt+0 keeps nothing of what is typed
until the next Alt+0. Where a program says that it takes a password or a PIN, nothing is asked, shown or kept.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import gi

gi.require_version("IBus", "1.0")
from gi.repository import GLib, IBus  # noqa: E402

NAME = "gossipfl"
HALF_TYPED = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]*)*\Z")
LONGEST = 2_000
SECRET = (IBus.InputPurpose.PASSWORD, IBus.InputPurpose.PIN)
HELD = IBus.ModifierType.CONTROL_MASK | IBus.ModifierType.MOD4_MASK


class Peer:
    """The peer's page on this machine, asked in a thread of its own, the newest request of each kind first."""

    def __init__(self, page: str, token: str) -> None:
        self.page, self.token = page.rstrip("/"), token
        self.waiting: dict[str, tuple[dict[str, Any], Any]] = {}
        self.changed = threading.Condition()
        threading.Thread(target=self._work, daemon=True).start()

    def ask(self, what: str, values: dict[str, Any], answer: Any = None) -> None:
        """Send a request soon; one of its kind that still waits is given up, unless it is of another message."""
        with self.changed:
            self.waiting[f"{what} {values.get('message')}"] = values, answer
            self.changed.notify()

    def _work(self) -> None:
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.waiting)
                kind = next(iter(self.waiting))
                values, answer = self.waiting.pop(kind)
            try:
                told = self._post(kind.partition(" ")[0], values)
            except (OSError, ValueError) as error:  # the peer has stopped: typing goes on
                print(f"the peer does not answer: {error}", file=sys.stderr)
                continue
            if answer is not None:
                GLib.idle_add(answer, values, told)

    def _post(self, what: str, values: dict[str, Any]) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{self.page}/api/keyboard/{what}",
            data=json.dumps(values).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=5) as answer:
            told: dict[str, Any] = json.load(answer)
        return told


class Engine(IBus.Engine):
    """What is typed into one field of a program."""

    __gtype_name__ = "GossipflEngine"
    peer: Peer

    def __init__(self) -> None:
        super().__init__()
        self.text, self.words, self.keeps, self.secret = "", [], True, False
        self.message = time.time_ns() // 1_000_000
        self.table = IBus.LookupTable.new(3, 0, True, False)  # noqa: FBT003 - GObject has no keywords

    def do_set_content_type(self, purpose: int, hints: int) -> None:
        """Learn what the program wants typed."""
        del hints
        self.secret = purpose in SECRET
        self._begin()

    def do_focus_in(self) -> None:
        """Begin a message."""
        self._begin()

    def do_focus_out(self) -> None:
        """End the message."""
        self._keep(end=True)
        self._begin()

    def do_reset(self) -> None:
        """The cursor has moved: what stands before it is not known any more."""
        self._keep(end=True)
        self._begin()

    def do_process_key_event(self, key: int, code: int, state: int) -> bool:
        """Take a word with Alt and its number; leave all other keys to the program, and know what they type."""
        del code
        if state & IBus.ModifierType.RELEASE_MASK or self.secret:
            return False
        if state & IBus.ModifierType.MOD1_MASK:
            number = key - IBus.KEY_0
            if number == 0:
                self.keeps = not self.keeps
                self._show([])
                return True
            if 1 <= number <= len(self.words):
                self._take(self.words[number - 1])
                return True
            return False
        if state & HELD:
            return False
        if key in (IBus.KEY_Return, IBus.KEY_KP_Enter):
            self._keep(end=True)
            self._begin()
        elif key == IBus.KEY_BackSpace:
            self.text = self.text[:-1]
            self._suggest()
        elif IBus.KEY_Home <= key <= IBus.KEY_Begin or key == IBus.KEY_Escape:
            self.do_reset()
        else:
            letter = IBus.keyval_to_unicode(key)
            if letter and letter.isprintable():
                self._typed(letter)
        return False

    def _typed(self, letters: str) -> None:
        self.text = (self.text + letters)[-LONGEST:]
        if not HALF_TYPED.search(self.text):
            self._keep()
        self._suggest()

    def _take(self, word: str) -> None:
        half = HALF_TYPED.search(self.text)
        begun = half.group() if half else ""
        if word.startswith(begun):
            self.commit_text(IBus.Text.new_from_string(f"{word[len(begun) :]} "))
        else:  # other capitals than were typed
            self.delete_surrounding_text(-len(begun), len(begun))
            self.commit_text(IBus.Text.new_from_string(f"{word} "))
        self.text = self.text[: len(self.text) - len(begun)]
        self._typed(f"{word} ")

    def _begin(self) -> None:
        self.text = ""
        self.message = max(time.time_ns() // 1_000_000, self.message + 1)
        self._show([])

    def _keep(self, *, end: bool = False) -> None:
        """Have the message kept: a word once the next one begins, all of it at its end."""
        if self.keeps and not self.secret and self.text.strip():
            whole = self.text if end else self.text[: len(self.text.rstrip()) + 1]
            self.peer.ask("typed", {"message": self.message, "text": whole})

    def _suggest(self) -> None:
        if self.text:
            self.peer.ask("suggest", {"text": self.text}, self._suggested)
        else:
            self._show([])

    def _suggested(self, asked: dict[str, Any], told: dict[str, Any]) -> bool:
        if asked["text"] == self.text:
            self._show(told["suggestions"])
        return False

    def _show(self, words: list[str]) -> None:
        self.words = words
        self.table.clear()
        for number, word in enumerate(words, 1):
            self.table.append_candidate(IBus.Text.new_from_string(word))
            self.table.set_label(number - 1, IBus.Text.new_from_string(f"Alt+{number}"))
        self.update_lookup_table(self.table, bool(words))


def component() -> IBus.Component:
    """The engine as IBus lists it."""
    listed = IBus.Component.new(
        "org.freedesktop.IBus.Gossipfl", "Words of a peer", "1", "MIT", "", "", "", NAME
    )
    listed.add_engine(
        IBus.EngineDesc.new(NAME, "gossipfl", "Suggestions of a running peer", "en", "MIT", "", "", "us")
    )
    return listed


def main() -> None:
    """Serve IBus until it ends."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--home", type=Path, required=True, help="the peer's home, for its token")
    parser.add_argument(
        "--page", required=True, help="address of its page, as `gossipfl peer status` shows it"
    )
    chosen = parser.parse_args()
    Engine.peer = Peer(chosen.page, (chosen.home / "page.token").read_text().strip())
    IBus.init()
    bus, loop = IBus.Bus(), GLib.MainLoop()
    if not bus.is_connected():
        sys.exit("IBus does not run: start ibus-daemon first")
    bus.connect("disconnected", lambda _: loop.quit())
    factory = IBus.Factory.new(bus.get_connection())
    factory.add_engine(NAME, Engine.__gtype__)
    bus.register_component(component())
    print("ready", flush=True)
    loop.run()


if __name__ == "__main__":
    main()
