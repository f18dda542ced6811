"""Tasks of `benchmarks.memory_estimates`: models of several kinds on random samples."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gossipfl.tasks import Dataset, Task


def _task(name: str, model: type[nn.Module], inputs: Tensor, *, classes: int = 10, tests: int = 300) -> Task:
    targets = torch.arange(len(inputs)) % classes
    dataset = Dataset(
        train_inputs=inputs, train_targets=targets, test_inputs=inputs[:tests], test_targets=targets[:tests]
    )
    return Task(name=name, model=model, data=lambda: dataset)


def _numbers(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


class Linear(nn.Linear):
    """650 numbers."""

    def __init__(self) -> None:
        super().__init__(64, 10)


class Convolutional(nn.Sequential):
    """Two layers of convolutions, with BatchNorm."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16 * 49, 10),
        )  # fmt: skip


class Recurrent(nn.Module):
    """An LSTM over 20 vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(16, 64, batch_first=True), nn.Linear(64, 10)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.lstm(inputs)[0][:, -1])


class Transformer(nn.Module):
    """Two layers of attention over 32 tokens."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(64, 4, 128, dropout=0.0, batch_first=True)
        self.words, self.head = nn.Embedding(100, 64), nn.Linear(64, 10)
        self.encoder = nn.TransformerEncoder(layer, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.encoder(self.words(inputs)).mean(dim=1))


def linear() -> Task:
    """Logistic regression."""
    return _task("linear", Linear, _numbers(2000, 64))


def convolutional() -> Task:
    """Images of 28 × 28."""
    return _task("convolutional", Convolutional, _numbers(2000, 1, 28, 28))


def recurrent() -> Task:
    """Sequences of vectors."""
    return _task("recurrent", Recurrent, _numbers(2000, 20, 16))


def transformer() -> Task:
    """Sequences of tokens."""
    return _task("transformer", Transformer, torch.arange(64_000).view(2000, 32) % 100)


def many_images() -> Task:
    """Images of 28 × 28, 10,000 of them to test on."""
    return _task("many images", Convolutional, _numbers(10_000, 1, 28, 28), tests=10_000)


def long_tests() -> Task:
    """Sequences of tokens, 2,000 of them to test on."""
    return _task("long tests", Transformer, torch.arange(64_000).view(2000, 32) % 100, tests=2000)


class Tiny(nn.Linear):
    """55 numbers."""

    def __init__(self) -> None:
        super().__init__(10, 5)


def large_tests() -> Task:
    """Logistic regression, with many test samples."""
    inputs = _numbers(2000, 64)
    tests = _numbers(400_000, 64)
    dataset = Dataset(
        train_inputs=inputs,
        train_targets=torch.arange(len(inputs)) % 10,
        test_inputs=tests,
        test_targets=torch.arange(len(tests)) % 10,
    )
    return Task(name="large tests", model=Linear, data=lambda: dataset)


def tiny() -> Task:
    """Logistic regression with few numbers."""
    return _task("tiny", Tiny, _numbers(2000, 10), classes=5)


class Gated(nn.Module):
    """A GRU over 20 vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.head = nn.GRU(16, 64, batch_first=True), nn.Linear(64, 10)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.gru(inputs)[0][:, -1])


class Wide(nn.Sequential):
    """A perceptron 784-256-10, 203,530 numbers."""

    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))


class Images(nn.Sequential):
    """A perceptron 784-32-10, 25,450 numbers."""

    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 10))


class Tagger(nn.Module):
    """An LSTM that has scores of 500 classes at each of 32 words."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.lstm = nn.Embedding(500, 32), nn.LSTM(32, 64, batch_first=True)
        self.head = nn.Linear(64, 500)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.lstm(self.words(inputs))[0]).transpose(1, 2)


def gated() -> Task:
    """Sequences of vectors, for a GRU."""
    return _task("gated", Gated, _numbers(2000, 20, 16))


def mnist_like() -> Task:
    """Images of 28 × 28 for a small perceptron."""
    return _task("images", Images, _numbers(6000, 1, 28, 28), tests=1000)


def mnist_wide() -> Task:
    """Images of 28 × 28 for a larger perceptron."""
    return _task("images, wide", Wide, _numbers(6000, 1, 28, 28), tests=2000)


def tagger() -> Task:
    """A class for each word of a sequence."""
    words = torch.randint(500, (1000, 33), generator=torch.Generator().manual_seed(0))
    inputs, targets = words[:, :-1].contiguous(), words[:, 1:].contiguous()
    dataset = Dataset(
        train_inputs=inputs, train_targets=targets, test_inputs=inputs[:300], test_targets=targets[:300]
    )
    return Task(name="tagger", model=Tagger, data=lambda: dataset)
