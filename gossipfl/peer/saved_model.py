"""A home's last checkpoint as a module, and files of it that other programs read."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal, get_args

import torch
from safetensors.torch import save
from torch import Tensor, nn

from gossipfl.errors import HomeError, InvalidTask
from gossipfl.extras import require_extra
from gossipfl.files import named_errors, write_atomically
from gossipfl.peer.personal import FineTuning
from gossipfl.peer.store.checkpoint import load_checkpoint
from gossipfl.peer.store.home import Home
from gossipfl.peer.task_paths import with_task_paths
from gossipfl.rows import load_row
from gossipfl.settings import load_settings, with_modules
from gossipfl.tasks import Task, find_task
from gossipfl.tasks.words.next_word import vocabulary_of_options

__all__ = ["FORMATS", "Format", "export_keyboard", "export_model", "predicted", "saved_model", "task_of_home"]

Format = Literal["safetensors", "onnx", "torch-export"]

FORMATS: Final[tuple[str, ...]] = get_args(Format)


def task_of_home(home: Home) -> Task:
    """Return the task that a home's settings name.

    Raises
    ------
    HomeError, SettingError, TaskError
        There is no peer, or its settings or task are wrong.
    """
    home.require()
    settings = with_task_paths(with_modules(load_settings(home.settings), home.directory), home.directory)
    task = settings.task
    return find_task(task.name, task.options, metrics=task.metrics, directory=settings.runtime.modules)


def saved_model(
    home: Home, task: Task, *, shared: bool = False, fine_tune: int | None = None
) -> tuple[nn.Module, int]:
    """Return the model of a home's last checkpoint, in evaluation mode, and its age.

    Parameters
    ----------
    shared : bool
        Whether to return the model that the peer shares, where it has a personal one beside it.
    fine_tune : int, optional
        Training steps on the peer's own samples, of which the home keeps nothing. By default as many as its
        settings say (``personal.fine_tune``), and none of the model that it shares.

    Raises
    ------
    HomeError
        There is no checkpoint yet, or it cannot be read.
    CorruptCheckpoint
        It is damaged, or belongs to another task.
    """
    if not home.checkpoint.exists():
        raise HomeError(
            f"there is no model in {home.directory} yet",
            expected=f"a file {home.checkpoint}",
            remedy=f"Run the peer: gossipfl peer run --home {home.directory}",
        )
    checkpoint = load_checkpoint(home.checkpoint, task, optimiser_state_size=0)
    nodes = checkpoint.nodes
    rows = nodes.rows if shared else nodes.models
    settings = load_settings(home.settings)
    steps = (0 if shared else settings.personal.fine_tune) if fine_tune is None else fine_tune
    if steps:
        personal = settings.personal.model_copy(update={"fine_tune": steps})
        rows = FineTuning(task, task.dataset(), settings.training, personal)(rows, checkpoint.age)
    module = task.build_module()
    load_row(module, task.layout, rows[0])
    return module.eval(), checkpoint.age


def export_model(
    home: Home, path: Path, *, form: Format, shared: bool = False, fine_tune: int | None = None
) -> int:
    """Write the model of a home's last checkpoint to a file, and return its age.

    Parameters
    ----------
    form : str
        ``safetensors``: named tensors, as in the module's ``state_dict``. ``onnx``, and ``torch-export`` for
        `torch.export.load`: the computation too, for any number of samples.
    shared, fine_tune
        As in `saved_model`.

    Raises
    ------
    HomeError, CorruptCheckpoint
        As in `saved_model`, or the file cannot be written.
    InvalidTask
        The data, of which two samples are needed as an example, cannot be read, or torch cannot export the
        module.
    SettingError
        A library that the format needs is not installed.
    """
    if form == "onnx":
        require_extra("onnx", ("onnx", "onnxscript"), what="the format onnx")
    task = task_of_home(home)
    module, age = saved_model(home, task, shared=shared, fine_tune=fine_tune)
    if form == "safetensors":
        metadata = {"format": "pt", "task": task.name, "age": json.dumps(age)}
        tensors = {name: each.contiguous() for name, each in module.state_dict().items()}
        content = save(tensors, metadata=metadata)
    else:
        content = _computation(module, task.dataset().test_inputs[:2], name=task.name, form=form)
    with named_errors(f"{path} cannot be written", remedy="Choose another place."):
        write_atomically(path, content)
    return age


def export_keyboard(home: Home, folder: Path) -> int:
    """Write the model of a keyboard's last checkpoint as a folder that answers without torch; return its age.

    Raises
    ------
    HomeError, CorruptCheckpoint, SettingError
        As in `export_model`.
    InvalidTask
        The task is not next-word with the cell ``cifg``.
    """
    from gossipfl.keyboard.exporting import write_keyboard

    task = task_of_home(home)
    settings = load_settings(home.settings).task
    if settings.name != "next-word":
        raise InvalidTask("only a keyboard is exported so", expected="a peer of next-word", got=settings.name)
    _, age = saved_model(home, task)
    row = load_checkpoint(home.checkpoint, task, optimiser_state_size=0).nodes.rows[0]
    write_keyboard(task, row, vocabulary_of_options(settings.options), folder)
    return age


def predicted(module: nn.Module, inputs: Tensor) -> Tensor:
    """Return a model's outputs for a batch of inputs.

    Raises
    ------
    InvalidTask
        The model does not accept them.
    """
    try:
        with torch.inference_mode():
            parameter = next(module.parameters(), inputs)
            outputs = module(inputs.to(parameter.device))
    except Exception as error:
        raise InvalidTask(
            "the model does not accept these inputs",
            got=f"{tuple(inputs.shape)} {str(inputs.dtype).removeprefix('torch.')}: {error}",
            remedy="Give one sample a row, in the form of the task's own inputs.",
        ) from error
    if not isinstance(outputs, Tensor):
        raise InvalidTask(
            "the model's outputs cannot be printed", expected="one tensor", got=type(outputs).__name__
        )
    return outputs.cpu()


@contextmanager
def _without_asides() -> Iterator[None]:
    """Silence what torch's exporter says of libraries that it does without, and of its own deprecations."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logger.setLevel(level)


def _computation(module: nn.Module, example: Tensor, *, name: str, form: Format) -> bytes:
    """Return the exported programme, whose first dimension is free."""
    buffer = io.BytesIO()
    try:
        program = torch.export.export(module, (example,), dynamic_shapes=({0: torch.export.Dim.AUTO},))
        if form == "onnx":
            with _without_asides():
                exported = torch.onnx.export(program, dynamo=True, verbose=False)
            assert exported is not None  # noqa: S101 - it is None only where a file is written
            return bytes(exported.model_proto.SerializeToString())
        torch.export.save(program, buffer)
    except Exception as error:
        raise InvalidTask(
            f"torch cannot export the model of task {name!r} as {form}",
            got=f"{type(error).__name__}: {error}",
            remedy="Export it as safetensors, and load the tensors into the module.",
        ) from error
    return buffer.getvalue()
