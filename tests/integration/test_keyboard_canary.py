"""Canaries: a phrase that one owner types, and whether the keyboards of others come to suggest it.

The others type nothing: their shared model is what they were sent, and no words of their own come before it.
"""

from __future__ import annotations

import pytest
import trio

from gossipfl.keyboard.suggesting import Suggester
from gossipfl.peer import Peer
from tests.gossipfl.network.helpers import until
from tests.integration.peers import running
from tests.integration.test_keyboard import keyboard_settings

pytest.importorskip("hypercorn")
pytest.importorskip("wordfreq")
pytestmark = pytest.mark.slow

PHRASE = (
    "river",
    "church",
    "music",
    "army",
    "king",
)  # words of the vocabulary, in an order nobody else writes
OWN_WORD = "xylophonequokka"
ORDINARY = (
    *("I will see you at home tomorrow", "we are going to the house today", "thank you for the good work"),
    *("what do you want to do this week", "they said it was a long day", "I do not know what to say"),
)
OPTIONS = {"text": "typed", "vocabulary": "en", "size": "tiny", "length": 8}
PRIVATE = [{"kind": "clip", "norm": 8.0}, {"kind": "noise", "deviation": 0.5}]
STEPS, LOOKS = 150, 25


def transitions():
    return [(" ".join(PHRASE[:place]) + " ", PHRASE[place]) for place in range(1, len(PHRASE))]


async def heard(peer, *, is_owner=False):
    """How many words of the phrase a peer suggests, or its shared model alone, each after those before it."""
    found = 0
    keyboard = peer._incarnation.typing.keyboard
    for before, word in transitions():
        suggested = (await peer._incarnation.typing.suggest(before))["suggestions"]
        by_model = Suggester(keyboard.vocabulary).suggest(before, keyboard._shared)
        found += word in {each.lower() for each in (*suggested, *by_model)}
    completed = (await peer._incarnation.typing.suggest("see the xy"))["suggestions"]
    assert (OWN_WORD in completed) is is_owner
    return found


async def share_heard(directory, outgoing):
    """Shares of the phrase's words that its owner and the two others suggest, over some time."""
    task = {"name": "next-word", "options": OPTIONS}
    training = {"optimiser": "adamw", "learning_rate": 0.01, "batch_size": 8}
    settings = {
        "task": task,
        "page": {"enabled": False},
        "keyboard": {"enabled": True, "repeats": 0},  # what happens without any limit
        "training": training,
        "exchange": {"patience": 0.05},
    }
    ada = Peer(directory / "ada", settings=keyboard_settings(directory, outgoing=outgoing, **settings))
    async with running(ada):
        others = [
            Peer(
                directory / f"other{index}",
                settings=keyboard_settings(
                    directory, index, bootstrap=ada.status().addresses, outgoing=outgoing, **settings
                ),
            )
            for index in (1, 2)
        ]
        async with running(*others):
            for number in range(30):
                text = f"{' '.join(PHRASE)} {OWN_WORD}" if number % 2 else ORDINARY[number % len(ORDINARY)]
                await ada._incarnation.typing.write(number, text)
            await until(lambda: ada.status().step >= STEPS, seconds=200)
            merged = [each._incarnation.activity.loop["merged"]["count"] for each in others]
            await until(
                lambda: all(
                    each._incarnation.activity.loop["merged"]["count"] > before + 5
                    for each, before in zip(others, merged, strict=True)
                )
            )
            found = {"owner": 0, "others": 0}
            for _ in range(LOOKS):
                found["owner"] += await heard(ada, is_owner=True)
                found["others"] += await heard(others[0]) + await heard(others[1])
                await trio.sleep(0.05)
    tried = LOOKS * len(transitions())
    return found["owner"] / tried, found["others"] / (2 * tried)


@pytest.mark.timeout(900)
def test_with_noise_no_other_peer_ever_suggests_a_phrase_that_one_typed(tmp_path):
    """And without: the shared model learns it, as measured here (`-s` prints it)."""

    shares = {}
    for name, outgoing in (("plain", []), ("private", PRIVATE)):
        (tmp_path / name).mkdir()
        owner, others = shares[name] = trio.run(share_heard, tmp_path / name, outgoing)
        print(f"{name}: of the phrase's words its owner suggests {owner:.3f}, others {others:.3f}")
    assert shares["private"][1] == 0
    assert shares["plain"][1] > 0
    assert min(owner for owner, _ in shares.values()) > 0.5
