"""The 8-bit export of a keyboard beside its float32 model: recall, bytes, and what it takes where torch is not installed.

``python -m benchmarks.keyboard_export`` trains a `small` model of 2,000 words on ten books of the Bible (``--text``), and
exports it; both suggest the books' later words. Then it exports a `paper` model, asks it for three words in a process
that can import neither torch nor gossipfl, and prints that process's resident memory and CPU time, to the first
suggestion and for each one after that.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from gossipfl.keyboard.exporting import write_keyboard
from gossipfl.keyboard.reader import Keyboard
from gossipfl.rows import load_row
from gossipfl.settings import TrainingSettings
from gossipfl.tasks import find_task
from gossipfl.tasks.words.next_word import vocabulary_of_options
from gossipfl.tasks.words.vocabulary import SPECIAL
from gossipfl.training import NodeData, Nodes, Trainer

ALONE = """
import sys, time
for name in ("torch", "gossipfl", "onnx"):
    sys.modules[name] = None
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from suggest import Keyboard
keyboard = Keyboard(Path(sys.argv[1]))
said = "I will be there at nine and then we go "
keyboard.suggest(said)
first, began = time.process_time(), time.process_time()
for number in range(300):
    keyboard.suggest(said + str(number % 7))
each = (time.process_time() - began) / 300
(size,) = [int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")]  # this image's alone
print(f"{first:.2f} s of CPU to the first suggestion, {1e3 * each:.2f} ms for each after 10 words, {size / 1024:.0f} MiB resident at most")
"""


def trained(task, data, steps: int) -> torch.Tensor:
    """The row after training on everybody's windows."""
    settings = TrainingSettings(optimiser="adamw", learning_rate=0.005, batch_size=16)
    parts = [np.arange(data.samples)]
    trainer = Trainer.of(task, NodeData.partitioned(data.train_inputs, data.train_targets, parts), settings)
    nodes = Nodes.start(task.initial_row()[None], optimiser_state_size=trainer.optimiser_state_size)
    for _ in range(steps):
        nodes, _ = trainer.train(nodes, np.arange(1))
    return nodes.rows[0]


def by_torch(task, row, words: torch.Tensor) -> np.ndarray:
    """Scores of the next word at all places of windows, ``[n, length, words]``."""
    module = task.build_module().eval()
    load_row(module, task.layout, row)
    with torch.no_grad():
        return module.scores(module.hidden(words)).numpy()


def by_export(keyboard: Keyboard, words: np.ndarray) -> np.ndarray:
    """The same of one window, ``[length, words]``, word by word."""
    state, found = keyboard._start, []
    for number in words:
        given = {"word": np.array([number], dtype=np.int64), **state}
        scores, output, cell = keyboard._session.run(["scores", "next_output", "next_cell"], given)
        state = {"output": output, "cell": cell}
        found.append(scores[0])
    return np.stack(found)


def ranks(scores: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """How many words are preferred to each wanted one of the vocabulary."""
    scores[..., : len(SPECIAL)] = -np.inf
    places = wanted >= len(SPECIAL)
    kept, own = scores[places], wanted[places]
    return (kept > kept[np.arange(len(own)), own][:, None]).sum(axis=1)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--text", default="bible")
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--windows", type=int, default=800, help="later windows, of all users")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    options = {"text": chosen.text, "users": 10, "size": "small", "words": 2000}
    task = find_task("next-word", options)
    data = task.dataset()
    row = trained(task, data, chosen.steps)
    picked = np.random.default_rng(0).permutation(len(data.test_inputs["words"]))[: chosen.windows]
    words, following = data.test_inputs["words"][picked], data.test_targets["following"][picked].numpy()
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        size = write_keyboard(task, row, vocabulary_of_options(options), folder / "small")
        keyboard = Keyboard(folder / "small")
        plain = np.concatenate(
            [
                ranks(by_torch(task, row, part).copy(), following[start : start + 16])
                for start, part in zip(range(0, len(words), 16), torch.split(words, 16), strict=True)
            ]
        )
        short = np.concatenate(
            [
                ranks(by_export(keyboard, window)[None], wanted[None])
                for window, wanted in zip(words.numpy(), following, strict=True)
            ]
        )
        print(f"small, {len(row)} parameters: {4 * len(row)} bytes in float32, model.onnx {size} bytes")
        for name, rank in (("float32", plain), ("8 bits", short)):
            recalls = ", ".join(f"top-{most} {100 * (rank < most).mean():.2f} %" for most in (1, 3))
            print(f"{name}, {len(rank)} later words: {recalls}")
        options = {"text": "typed", "size": "paper"}
        task = find_task("next-word", {**options, "text": chosen.text, "users": 10})
        size = write_keyboard(task, task.initial_row(), vocabulary_of_options(options), folder / "paper")
        print(f"paper, {len(task.initial_row())} parameters: model.onnx {size} bytes")
        done = subprocess.run(
            [sys.executable, "-I", "-c", ALONE, str(folder / "paper")],
            capture_output=True,
            text=True,
            check=True,
        )
        print(done.stdout.strip())


if __name__ == "__main__":
    main()
