"""Tasks of every form of samples: trees of tensors, sequences, weights, on disk, augmented."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from gossipfl.tasks import Dataset, Task, Weighted, open_arrays, padded

SAMPLES = 60


class Tokens(nn.Module):
    """A bag of words that leaves out what is masked."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(20, 6), nn.Linear(6, 3)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        kept = mask[..., None].to(self.table.weight.dtype)
        return self.head((self.table(ids) * kept).sum(1) / kept.sum(1).clamp(min=1))


class Tagger(Tokens):
    """A class for every word, and what it is computed from."""

    def forward(self, ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
        hidden = torch.tanh(self.table(ids))
        return {"logits": self.head(hidden), "hidden": hidden}


class Two(nn.Module):
    """A model of two inputs with two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(4, 3), nn.Linear(2, 3)

    def forward(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        both = torch.tanh(self.left(left)) + self.right(right)
        return both, both.sum(dim=1)


def _sequences(seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 7, (SAMPLES,), generator=generator)
    return [torch.randint(1, 20, (int(length),), generator=generator) for length in lengths]


def _classes(sequences: list[Tensor]) -> Tensor:
    return torch.tensor([int(sequence.sum()) % 3 for sequence in sequences])


def _split(inputs: object, targets: object) -> Dataset:
    from gossipfl.tasks.samples import take

    return Dataset(
        train_inputs=inputs,
        train_targets=targets,
        test_inputs=take(inputs, slice(9)),
        test_targets=take(targets, slice(9)),
    )


def _tokens(index: int) -> Dataset:
    ids, mask = padded(sequences := _sequences(index))
    return _split({"ids": ids, "mask": mask}, _classes(sequences))


def _tags(index: int) -> Dataset:
    ids, mask = padded(_sequences(index))
    return _split({"ids": ids, "mask": mask}, torch.where(mask, ids % 3, -100))


def _two(index: int) -> Dataset:
    generator = torch.Generator().manual_seed(index)
    left, right = torch.randn(SAMPLES, 4, generator=generator), torch.randn(SAMPLES, 2, generator=generator)
    return _split((left, right), {"class": (left.argmax(1) % 3), "value": right.sum(1)})


def _weighted(index: int) -> Dataset:
    data = _tokens(index)
    weights = torch.arange(SAMPLES) % 4
    return _split(data.train_inputs, Weighted(data.train_targets, weights.float() / 2))


def tagging_loss(outputs: dict[str, Tensor], targets: Tensor) -> Tensor:
    return (
        functional.cross_entropy(outputs["logits"].movedim(-1, 1), targets)
        + 0.01 * outputs["hidden"].square().mean()
    )


def tagging_accuracy(outputs: dict[str, Tensor], targets: Tensor) -> Tensor:
    kept = (targets != -100).float()
    return ((outputs["logits"].argmax(-1) == targets).float() * kept).sum() / kept.sum()


def two_losses(outputs: tuple[Tensor, Tensor], targets: dict[str, Tensor]) -> Tensor:
    return functional.cross_entropy(outputs[0], targets["class"]) + functional.mse_loss(
        outputs[1], targets["value"]
    )


def first_accuracy(outputs: tuple[Tensor, Tensor], targets: dict[str, Tensor]) -> Tensor:
    return (outputs[0].argmax(1) == targets["class"]).float().mean()


def dropped_words(
    inputs: dict[str, Tensor], targets: Tensor, generator: torch.Generator
) -> tuple[object, Tensor]:
    """Leave out a quarter of the words."""
    mask = inputs["mask"]
    kept = torch.rand(mask.shape, generator=generator) > 0.25
    return {**inputs, "mask": mask & kept}, targets


class Words(torch.utils.data.Dataset):
    """Sequences of their own lengths, read one by one."""

    def __init__(self, index: int, *, whole: bool = False) -> None:
        self.sequences = _sequences(index)
        self.longest = max(map(len, self.sequences)) if whole else 0
        self.reads = 0

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, place: int) -> dict[str, object]:
        self.reads += 1
        sequence = self.sequences[place]
        return {"ids": sequence, "label": int(sequence.sum()) % 3}


def padded_words(pairs: list[tuple[dict[str, Tensor], Tensor]]) -> tuple[dict[str, Tensor], Tensor]:
    ids, mask = padded([inputs["ids"] for inputs, _ in pairs])
    return {"ids": ids, "mask": mask}, torch.stack([target for _, target in pairs])


def _stored(index: int) -> Dataset:
    return Dataset.stored(Words(index), Words(index), targets="label", collate=padded_words)


@functools.cache
def _folder() -> Path:
    folder = tempfile.TemporaryDirectory()
    _folder.kept = folder  # type: ignore[attr-defined]
    return Path(folder.name)


def _mapped(index: int) -> Dataset:
    data, file = _tokens(index), _folder() / f"{index}.safetensors"
    if not file.exists():
        save_file({**data.train_inputs, "label": data.train_targets}, file)
        np.save(_folder() / f"mask-{index}.npy", data.train_inputs["mask"].numpy())
    arrays = open_arrays(file)
    mask = open_arrays(_folder() / f"mask-{index}.npy")[f"mask-{index}"]
    return _split({"ids": arrays["ids"], "mask": mask}, arrays["label"])


FORMS = {
    "a dictionary of tensors": Task(name="tokens", model=Tokens, data=lambda: _tokens(0)),
    "outputs in a dictionary": Task(
        name="tags",
        model=Tagger,
        data=lambda: _tags(0),
        loss=tagging_loss,
        metrics={"accuracy": tagging_accuracy},
    ),
    "tuples": Task(
        name="two", model=Two, data=lambda: _two(0), loss=two_losses, metrics={"accuracy": first_accuracy}
    ),
    "weights": Task(name="weights", model=Tokens, data=lambda: _weighted(0)),
    "augmented": Task(name="augmented", model=Tokens, data=lambda: _tokens(0), transform=dropped_words),
    "on disk, ragged": Task(name="stored", model=Tokens, data=lambda: _stored(0)),
    "mapped into memory": Task(name="mapped", model=Tokens, data=lambda: _mapped(0)),
}
_DATA = {
    "a dictionary of tensors": _tokens,
    "outputs in a dictionary": _tags,
    "tuples": _two,
    "weights": _weighted,
    "augmented": _tokens,
    "on disk, ragged": _stored,
    "mapped into memory": _mapped,
}


def form(*, form: str, index: int = 0) -> Task:
    """Make the task of a form, with a peer's own data."""
    from dataclasses import replace

    return replace(FORMS[form], data=functools.partial(_DATA[form], index))
