"""Exported keyboards, against torch, and where torch cannot be imported."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from gossipfl.errors import InvalidTask
from gossipfl.keyboard.exporting import write_keyboard
from gossipfl.keyboard.reader import Keyboard
from gossipfl.rows import load_row
from gossipfl.tasks import find_task
from gossipfl.tasks.words.next_word import find_vocabulary, vocabulary_of_options

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")


def made(tmp_path, **options):
    (tmp_path / "text").mkdir(exist_ok=True)
    (tmp_path / "text" / "ada.txt").write_text("the old dog ran home. we saw the red fish. " * 40)
    task = find_task("next-word", {"text": str(tmp_path / "text"), "size": "tiny", **options})
    generator = torch.Generator().manual_seed(0)
    row = task.initial_row()
    row += 0.3 * torch.randn(len(row), generator=generator)
    return task, row, find_vocabulary("en", options.get("words", 1000))


def test_exported_scores_are_those_of_torch_to_eight_bits(tmp_path):
    task, row, vocabulary = made(tmp_path)
    size = write_keyboard(task, row, vocabulary, tmp_path / "out")
    assert size == (tmp_path / "out" / "model.onnx").stat().st_size
    assert size < 1.6 * len(row) + 5000  # a byte each, biases and scales, and the graph
    module = task.build_module().eval()
    load_row(module, task.layout, row)
    keyboard = Keyboard(tmp_path / "out")
    generator = np.random.default_rng(0)
    same = 0
    for _ in range(50):
        numbers = generator.integers(1, 1000, size=6)
        with torch.no_grad():
            expected = module(torch.from_numpy(numbers)[None])[0].numpy()
        found = keyboard.scores(numbers.tolist())
        assert np.corrcoef(found, expected)[0, 1] > 0.995
        assert np.abs(found - expected).max() < 0.1 * np.abs(expected).max()
        same += found.argmax() == expected.argmax()
    assert same >= 45


def test_it_answers_where_torch_cannot_be_imported(tmp_path):
    task, row, vocabulary = made(tmp_path)
    write_keyboard(task, row, vocabulary, tmp_path / "out")
    code = (
        "import sys, runpy\n"
        "for name in ('torch', 'gossipfl', 'onnx'): sys.modules[name] = None\n"
        "sys.argv = ['suggest.py', 'I saw the']\n"
        f"sys.path.insert(0, {str(tmp_path / 'out')!r})\n"
        f"runpy.run_path({str(tmp_path / 'out' / 'suggest.py')!r}, run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = done.stdout.split()
    assert said == Keyboard(tmp_path / "out").suggest("I saw the")
    assert len(set(said)) == 3
    assert all(word.lower() in vocabulary.numbers for word in said)


def test_options_give_the_tasks_vocabulary():
    assert len(vocabulary_of_options({"size": "tiny"})) == 1000
    assert vocabulary_of_options({"words": 300}).digest == find_vocabulary("en", 300).digest


def test_what_cannot_be_exported_is_named(tmp_path):
    task, row, vocabulary = made(tmp_path, cell="gru")
    with pytest.raises(InvalidTask, match="cannot be exported to 8 bits"):
        write_keyboard(task, row, vocabulary, tmp_path / "out")
    task, row, _ = made(tmp_path)
    with pytest.raises(InvalidTask, match="vocabulary is not the model's"):
        write_keyboard(task, row, find_vocabulary("en", 900), tmp_path / "out")
