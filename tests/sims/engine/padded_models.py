"""Models whose batches may be padded, and some whose may not, on made-up samples of ten classes."""

import functools

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from gossipfl import Dataset, Task
from gossipfl.tasks.samples import Weighted

SAMPLES, TESTED, LENGTH, WIDTH, CLASSES = 600, 40, 6, 8, 10


class Sequences(nn.Module):
    """Scores of the class of a sequence of six symbols, or of each of these."""

    def __init__(self, inner, *, each):
        super().__init__()
        self.embedding, self.inner, self.decoder = (
            nn.Embedding(CLASSES, WIDTH),
            inner,
            nn.Linear(WIDTH, CLASSES),
        )
        self.each = each

    def forward(self, tokens):
        found = self.inner(self.embedding(tokens))
        scores = self.decoder(found[0] if isinstance(found, tuple) else found)
        return scores.mT if self.each else scores[:, -1]


def transformer():
    layer = nn.TransformerEncoderLayer(WIDTH, 2, 16, dropout=0.0, batch_first=True, norm_first=True)
    return Sequences(nn.TransformerEncoder(layer, 1, enable_nested_tensor=False), each=True)


def images(*between):
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        *between,
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16, CLASSES),
    )


class LessTheMean(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(16, CLASSES)

    def forward(self, inputs):
        scores = self.inner(inputs.flatten(1))
        return scores - scores.mean(dim=0)


def own_loss(outputs, targets):
    return functional.cross_entropy(outputs, targets)


MODELS = {
    "linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, CLASSES)),
    "cnn": images,
    "lstm": lambda: Sequences(nn.LSTM(WIDTH, WIDTH, batch_first=True), each=False),
    "transformer": transformer,
    "batchnorm": lambda: images(nn.BatchNorm2d(4)),
    "batchnorm without memory": lambda: images(nn.BatchNorm2d(4, track_running_stats=False)),
    "less the mean of a batch": LessTheMean,
}
LOSSES = {
    "": functional.cross_entropy,
    "own": own_loss,
    "class weights": nn.CrossEntropyLoss(weight=torch.arange(1.0, 11.0).double()),
    "a sum": functools.partial(functional.cross_entropy, reduction="sum"),
}


def task(*, model="linear", loss="", some=""):
    generator = torch.Generator().manual_seed(0)
    classes = torch.randint(CLASSES, (SAMPLES + TESTED,), generator=generator)
    if model in ("lstm", "transformer"):
        inputs = (classes[:, None] + torch.randint(3, (len(classes), LENGTH), generator=generator)) % CLASSES
    else:
        inputs = torch.randn(len(classes), 1, 4, 4, generator=generator) + classes[:, None, None, None] / 5
    targets = inputs.roll(1, 1) if model == "transformer" else classes
    found = targets[:SAMPLES]
    if some == "ignored":
        found = found.where(torch.arange(SAMPLES) % 7 > 0, -100)
    if some == "weighted":
        found = Weighted(found, torch.rand(SAMPLES, generator=generator))
    data = Dataset(
        train_inputs=inputs[:SAMPLES],
        train_targets=found,
        test_inputs=inputs[SAMPLES:],
        test_targets=targets[SAMPLES:],
        owners=torch.from_numpy(owners()),
    )
    return Task(
        name=f"{model} {loss} {some}".strip(), model=MODELS[model], loss=LOSSES[loss], data=lambda: data
    )


def owners():
    """Sixteen owners of 2 to 17 samples, and four of what is left."""
    sizes = list(range(2, 18))
    rest = SAMPLES - sum(sizes)
    return np.repeat(np.arange(20), [*sizes, *[rest // 4] * 3, rest - 3 * (rest // 4)])
