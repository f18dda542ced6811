"""Time and rounding of a peer's training on an accelerator, beside the CPU's.

    python benchmarks/device.py cuda --threads 16

Each model is trained by the learner of a peer, which copies its row to the device and back at every event.
"""

import argparse
import json
import statistics
import time

import torch
from torch import nn

from gossipfl.peer.assembly import first_state, trainer_of
from gossipfl.peer.device import device_of, hardware_of, on_device
from gossipfl.peer.gossip.learner import Learner
from gossipfl.peer.gossip.plan import gossip_algorithm, in_full
from gossipfl.settings import parse_settings
from gossipfl.tasks import Dataset, Task, find_task

_COMPARED_AFTER = (1, 10, 30, 100, 300)


class Block(nn.Module):
    """A block of ResNet-18 with group normalisation."""

    def __init__(self, width: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(width, outputs, 3, stride, 1, bias=False),
            nn.GroupNorm(8, outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.GroupNorm(8, outputs),
        )
        same = width == outputs and stride == 1
        self.skip = nn.Identity() if same else nn.Conv2d(width, outputs, 1, stride)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Add what the block finds to its inputs."""
        return torch.relu(self.main(inputs) + self.skip(inputs))


def resnet() -> nn.Module:
    """ResNet-18 for 32 × 32 pixels, 11 million parameters."""
    blocks: list[nn.Module] = []
    width = 64
    for outputs, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        blocks += [Block(width, outputs, stride), Block(outputs, outputs, 1)]
        width = outputs
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))
    return nn.Sequential(nn.Conv2d(3, 64, 3, 1, 1), nn.GroupNorm(8, 64), nn.ReLU(), *blocks, *head)


def mlp(activation: type[nn.Module]) -> nn.Module:
    """Perceptron with 6 million parameters."""
    first, second, last = nn.Linear(784, 2048), nn.Linear(2048, 2048), nn.Linear(2048, 10)
    return nn.Sequential(nn.Flatten(), first, activation(), second, activation(), last)


def images(*shape: int) -> Dataset:
    """2,048 noisy copies of ten images."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(2048) % 10
    inputs = 0.5 * torch.randn(10, *shape, generator=generator)[targets]
    inputs += torch.randn(2048, *shape, generator=generator)
    cut = 1638
    return Dataset(
        train_inputs=inputs[:cut],
        train_targets=targets[:cut],
        test_inputs=inputs[cut:],
        test_targets=targets[cut:],
    )


def trained(
    task: Task, *, events: int, **training: float
) -> tuple[list[float], dict[int, torch.Tensor], float]:
    """Train by a peer's learner: losses, rows after some events, and the median seconds of an event."""
    settings = in_full(parse_settings({"training": training}, source="the benchmark"))
    trainer = trainer_of(task, task.dataset(), settings)
    state = first_state(task, trainer, settings)
    learner = Learner(
        state=state,
        trainer=trainer,
        algorithm=gossip_algorithm(settings),
        merges_per_training=1,
        patience=1.0,
        mailbox=16,
        record=lambda _: None,
    )
    losses, rows, seconds = [], {}, []
    for event in range(1, events + 1):
        began = time.perf_counter()
        state = learner._work(state, [])
        seconds.append(time.perf_counter() - began)
        losses.append(state.loss)
        if event in _COMPARED_AFTER:
            rows[event] = state.nodes.rows
    return losses, rows, statistics.median(seconds[3:])


def compared(
    name: str, task: Task, device: torch.device | None, *, on_cpu: int, events: int, **training: float
) -> None:
    """Print a line about one model: the CPU's fewer events, and the device's twice."""
    cpu_losses, cpu_rows, cpu_seconds = trained(task, events=on_cpu, **training)
    placed = on_device(task, device)
    losses, rows, seconds = trained(placed, events=events, **training)
    again, rows_again, _ = trained(placed, events=events, **training)
    line = {
        "model": name,
        "parameters": task.layout.size,
        **training,
        "cpu_ms": round(1000 * cpu_seconds, 2),
        "device_ms": round(1000 * seconds, 2),
        "ratio": round(cpu_seconds / seconds, 2),
        "row_difference": {
            event: f"{float((row - rows[event]).abs().max() / row.abs().max()):.1e}"
            for event, row in cpu_rows.items()
        },
        "loss_difference": f"{max(abs(a - b) / a for a, b in zip(cpu_losses, losses, strict=False)):.1e}",
        "repeats": losses == again and all(torch.equal(rows[event], rows_again[event]) for event in rows),
    }
    print(json.dumps(line), flush=True)


def main() -> None:
    """Compare a few models."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("device")
    parser.add_argument("--threads", type=int, default=1, help="torch's threads on the CPU")
    chosen = parser.parse_args()
    device = device_of(chosen.device)
    torch.set_num_threads(chosen.threads)
    print(
        json.dumps({"torch": torch.__version__, "device": str(device), "hardware": hardware_of(device)}),
        flush=True,
    )
    compared("digits", find_task("digits"), device, on_cpu=300, events=300, batch_size=32, learning_rate=0.05)
    for name, activation in (("MLP, ReLU", nn.ReLU), ("MLP, tanh", nn.Tanh)):
        task = Task(name="mlp", model=lambda kind=activation: mlp(kind), data=lambda: images(1, 28, 28))
        for steps in (1, 10):
            training = {"batch_size": 128, "learning_rate": 0.05, "local_steps": steps}
            compared(name, task, device, on_cpu=30, events=30, **training)
    task = Task(name="resnet", model=resnet, data=lambda: images(3, 32, 32))
    for steps, count in ((1, 10), (10, 4)):
        training = {"batch_size": 128, "learning_rate": 0.01, "local_steps": steps}
        compared("ResNet-18, ReLU", task, device, on_cpu=count, events=10, **training)


if __name__ == "__main__":
    main()
