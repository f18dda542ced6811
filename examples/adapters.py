"""A frozen language model that authors fine-tune together, one author a peer: only low-rank adapters travel.

The body is a GPT-2 of transformers over characters. Train one on what other authors wrote (or give ``body`` a
folder of your own, with ``config.json`` and ``model.safetensors``), from the directory of this file::

    python adapters.py body --text shakespeare --steps 2000
    gossipfl sim run adapters.toml
    gossipfl sim run adapters.toml --set task.options.body='""'      # a body of random weights

A peer of its own, for the fourth author; others take part if they have the same body, to the last bit::

    gossipfl peer init --home fourth --task adapters:task --option body=body --option author=3
    gossipfl peer run --home fourth
"""

import argparse
from functools import cache, partial
from pathlib import Path

import torch
from peft import LoraConfig
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel

from gossipfl import Dataset, Task
from gossipfl.errors import InvalidTask
from gossipfl.tasks.words.corpora import CORPORA

CHARACTERS = 96  # the printable ones of ASCII, and one for all others
SIZES = {"tiny": (32, 1), "0.8M": (128, 4), "3.2M": (256, 4)}  # width, layers


def untrained(size: str, length: int) -> nn.Module:
    """A body of random weights, without dropout."""
    if size not in SIZES:
        raise InvalidTask("there is no such body", expected=", ".join(SIZES), got=size)
    width, layers = SIZES[size]
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=CHARACTERS,
            n_positions=length,
            n_embd=width,
            n_layer=layers,
            n_head=4,
            resid_pdrop=0,
            embd_pdrop=0,
            attn_pdrop=0,
            bos_token_id=0,
            eos_token_id=0,
        )
    )


@cache
def texts_of(text: str) -> list[str]:
    """What each author wrote, the most productive first; without a text each counts in steps of its own."""
    if not text:
        counts = [[32 + (place * (1 + author % 7)) % 90 for place in range(4000)] for author in range(40)]
        return ["".join(map(chr, count)) for count in counts]
    if text not in CORPORA:
        raise InvalidTask("there are no such authors", expected=f"{', '.join(CORPORA)}, or none", got=text)
    return sorted(("\n".join(said) for said in CORPORA[text]().of_user.values()), key=len, reverse=True)


def windows(said: str, length: int, most: int) -> Tensor:
    """Numbers of an author's characters, ``[windows, length]``."""
    codes = torch.tensor([max(0, ord(each) - 31) % 128 for each in said[: length * most]])
    return torch.where(codes < CHARACTERS, codes, 0)[: len(codes) // length * length].view(-1, length)


def task(
    *,
    body: Path | None = None,
    size: str = "tiny",
    text: str = "shakespeare",
    authors: int = 16,
    author: int | None = None,
    length: int = 128,
    each: int = 100,
    kept: int = 8,
    rank: int = 8,
    full: bool = False,
) -> Task:
    """Make the task: of one author, in a peer; else of the ``authors`` who wrote most, owners of their samples.

    Each has at most ``each`` windows of ``length`` characters to train on, and ``kept`` before them for testing.
    Without a ``body`` it is drawn at random, of a ``size``; ``full`` trains and sends all of it.
    """

    def data() -> Dataset:
        wanted = list(range(authors)) if author is None else [author]
        found = [windows(texts_of(text)[number], length, each + kept) for number in wanted]
        if min(map(len, found)) <= kept:
            raise InvalidTask("an author wrote too little", expected=f"more than {kept} windows of {length}")
        train = torch.cat([one[kept:] for one in found])
        test = torch.cat([one[:kept] for one in found])
        owners = torch.cat([torch.full((len(one) - kept,), at) for at, one in enumerate(found)])
        return Dataset(
            train_inputs={"input_ids": train},
            train_targets=train,
            test_inputs={"input_ids": test},
            test_targets=test,
            owners=owners if author is None else None,
            test_owners=torch.arange(len(found)).repeat_interleave(kept) if author is None else None,
        )

    adapters = LoraConfig(
        r=rank, target_modules=["c_attn", "c_proj", "c_fc"], task_type="CAUSAL_LM", fan_in_fan_out=True
    )
    return Task.from_transformers(
        name=f"adapters for {text or 'counting'}",
        model=partial(untrained, size, length) if body is None else body,
        data=data,
        adapters=None if full else adapters,
    )


def train_body(
    folder: Path, *, text: str, size: str, length: int, besides: int, steps: int, batch: int, seed: int
) -> float:
    """Train a body on what all but the first ``besides`` authors wrote; save it, and return its last loss."""
    torch.manual_seed(seed)
    module = untrained(size, length)
    everything = torch.cat([windows(said, length, 10**6) for said in texts_of(text)[besides:]])
    optimiser = torch.optim.AdamW(module.parameters(), lr=1e-3, weight_decay=0.01)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    loss = torch.zeros(())
    for step in range(steps):
        chosen = everything[torch.randint(len(everything), (batch,))]
        loss = module(input_ids=chosen, labels=chosen).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        falling.step()
        if step % 100 == 0:
            print(f"{step}: {loss.item():.3f} nats a character", flush=True)
    module.save_pretrained(folder)
    return loss.item()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=train_body.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--text", default="shakespeare", choices=["", *CORPORA])
    parser.add_argument("--size", default="0.8M", choices=SIZES)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument(
        "--besides", type=int, default=16, help="authors who are left out: those who fine-tune"
    )
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    given = vars(parser.parse_args())
    print(f"{train_body(given.pop('folder'), **given):.3f} nats a character")
