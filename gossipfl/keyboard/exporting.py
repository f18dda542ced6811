"""A shared model as a folder that answers without torch: 8-bit weights in ONNX, words, and a small reader.

Each matrix has one scale for each of its outputs, and what it is multiplied with is rounded to 8 bits as it comes
(ONNX's ``DynamicQuantizeLinear`` and ``MatMulInteger``). The embedding is stored once, for reading and suggesting.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gossipfl.errors import InvalidTask
from gossipfl.extras import require_extra
from gossipfl.files import named_errors
from gossipfl.keyboard import reader
from gossipfl.rows import load_row
from gossipfl.tasks import Task
from gossipfl.tasks.words import normalise
from gossipfl.tasks.words.models import CoupledLSTM, NextWord
from gossipfl.tasks.words.vocabulary import Vocabulary

if TYPE_CHECKING:
    import onnx

__all__ = ["write_keyboard"]

_OPSET = 18


def write_keyboard(task: Task, row: Tensor, vocabulary: Vocabulary, folder: Path) -> int:
    """Write a model, its words and a reader of both into a folder.

    ``python FOLDER/suggest.py "I will be"`` prints three words; it needs numpy and onnxruntime alone.

    Parameters
    ----------
    task : Task
        A task next-word with the cell ``cifg``.
    row : Tensor
        Shape ``[D]``.
    vocabulary : Vocabulary
        The task's.
    folder : Path
        Made if it is missing; files in it are replaced.

    Returns
    -------
    int
        Bytes of ``model.onnx``.

    Raises
    ------
    InvalidTask
        If the model is another, or has other words.
    SettingError
        If ``onnx`` is not installed.
    HomeError
        If the folder cannot be written.
    """
    require_extra("onnx", ("onnx",), what="the export of a keyboard")
    module = task.build_module()
    if not isinstance(module, NextWord) or not isinstance(module.body, CoupledLSTM):
        raise InvalidTask(
            "this model cannot be exported to 8 bits", expected="a task next-word with cell='cifg'"
        )
    if len(module.bias) != len(vocabulary):
        raise InvalidTask(
            "the vocabulary is not the model's", expected=f"{len(module.bias)} words", got=len(vocabulary)
        )
    load_row(module, task.layout, row)
    content = _graph(module, module.body).SerializeToString()
    with named_errors(f"{folder} cannot be written", remedy="Choose another place."):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.onnx").write_bytes(content)
        (folder / "words.txt").write_text("\n".join(vocabulary.words) + "\n", encoding="utf-8")
        for module_file, name in ((reader.__file__, "suggest.py"), (normalise.__file__, "normalise.py")):
            shutil.copyfile(module_file, folder / name)
    return len(content)


class _Builder:
    """Nodes and weights of a graph, one after another."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def constant(self, name: str, values: NDArray[Any]) -> str:
        from onnx import numpy_helper

        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def node(self, kind: str, *inputs: str, out: int = 1, **attributes: Any) -> Any:  # noqa: ANN401
        from onnx import helper

        names = [f"{kind}{len(self.nodes)}_{place}" for place in range(out)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names[0] if out == 1 else names

    def matrix(self, name: str, weight: Tensor) -> tuple[str, str]:
        """8-bit matrix ``[outputs, inputs]`` and its scales ``[outputs]``."""
        values = weight.detach().numpy()
        scales = np.maximum(np.abs(values).max(axis=1), 1e-12).astype(np.float32) / 127
        rounded = np.round(values / scales[:, None]).astype(np.int8)
        return self.constant(name, rounded), self.constant(f"{name}_scales", scales)

    def product(self, inputs: str, matrix: tuple[str, str]) -> Any:  # noqa: ANN401
        """Inputs ``[1, k]`` times a matrix's transpose, in float32."""
        rounded, scale, zero = self.node("DynamicQuantizeLinear", inputs, out=3)
        turned = self.node("Transpose", matrix[0], perm=[1, 0])
        whole = self.node("Cast", self.node("MatMulInteger", rounded, turned, zero), to=1)
        return self.node("Mul", whole, self.node("Mul", scale, matrix[1]))


def _graph(module: NextWord, cell: CoupledLSTM) -> onnx.ModelProto:
    """A step: a word, an output ``[1, width]`` and a cell ``[1, units]`` to scores ``[1, words]`` and the next."""
    from onnx import TensorProto, checker, helper

    build = _Builder()
    table = build.matrix("table", module.embedding.weight)
    width, units = module.embedding.weight.shape[1], cell.units
    one = build.constant("one", np.ones(1, dtype=np.float32))
    row = build.node("Cast", build.node("Gather", table[0], "word"), to=1)
    own_scale = build.node(
        "Unsqueeze", build.node("Gather", table[1], "word"), build.constant("axis", np.array([1]))
    )
    embedded = build.node("Mul", row, own_scale)
    of_input = build.product(embedded, build.matrix("of_input", cell.of_input.weight))
    of_state = build.product("output", build.matrix("of_state", cell.of_state.weight))
    bias = build.constant("gates_bias", cell.of_input.bias.detach().numpy())
    gates = build.node("Add", build.node("Add", of_input, of_state), bias)
    forget, out, new = build.node("Split", gates, out=3, axis=1, num_outputs=3)
    kept = build.node("Sigmoid", forget)
    added = build.node("Mul", build.node("Sub", one, kept), build.node("Tanh", new))
    state = build.node("Add", build.node("Mul", kept, "cell"), added)
    full = build.node("Mul", build.node("Sigmoid", out), build.node("Tanh", state))
    output = build.product(full, build.matrix("projection", cell.projection.weight))
    scores = build.node(
        "Add", build.product(output, table), build.constant("bias", module.bias.detach().numpy())
    )
    for name, found in (("scores", scores), ("next_output", output), ("next_cell", state)):
        build.nodes.append(helper.make_node("Identity", [found], [name]))

    def declared(name: str, size: int) -> Any:  # noqa: ANN401
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size])

    graph = helper.make_graph(
        build.nodes,
        "next-word",
        [
            helper.make_tensor_value_info("word", TensorProto.INT64, [1]),
            declared("output", width),
            declared("cell", units),
        ],
        [declared("scores", len(module.bias)), declared("next_output", width), declared("next_cell", units)],
        build.weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=9)
    checker.check_model(model)
    return model
