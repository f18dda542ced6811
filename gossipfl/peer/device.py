"""The device that a peer computes on."""

from __future__ import annotations

import dataclasses
import logging

import torch

from gossipfl.errors import SettingError
from gossipfl.tasks import Task
from gossipfl.training.exact import compute_exactly

__all__ = ["device_of", "hardware_of", "on_device"]

logger = logging.getLogger(__name__)


def device_of(name: str) -> torch.device | None:
    """Return the accelerator that ``runtime.device`` names; None for the CPU.

    Parameters
    ----------
    name : str
        ``cpu``, ``cuda``, ``cuda:1``, ``mps``, or ``auto`` for the first accelerator that there is.

    Raises
    ------
    SettingError
        This machine has no such device, or torch cannot use it.
    """
    there = _accelerators()
    if name == "auto":
        name = there[0] if there else "cpu"
    if name == "cpu":
        return None
    full = "cuda:0" if name == "cuda" else name
    if full not in there:
        raise SettingError(
            f"runtime.device: there is no {name} here, or torch cannot use it",
            expected=f"one of {', '.join(['cpu', *there, 'auto'])}",
            got=repr(name),
            remedy=_remedy(full, there),
        )
    return torch.device(full)


def on_device(task: Task, device: torch.device | None) -> Task:
    """Return a task whose models are computed on a device.

    Convolutions are computed in whole float32, and by the same algorithms each time, for the whole process.
    """
    if device is None:
        return task
    compute_exactly(device)
    logger.info("models are computed on %s, %s", device, hardware_of(device))
    return dataclasses.replace(task, device=device)


def hardware_of(device: torch.device | None) -> str | None:
    """Return the maker's name of an accelerator; None if there is none to name."""
    if device is None:
        return None
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _accelerators() -> list[str]:
    if torch.cuda.is_available():
        return [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return ["mps"] if torch.backends.mps.is_available() else []


def _remedy(name: str, there: list[str]) -> str:
    kind = name.partition(":")[0]
    if any(each.startswith(kind) for each in there):
        return "Name one of these, or auto."
    if kind == "cuda" and not torch.backends.cuda.is_built():  # type: ignore[no-untyped-call]
        return f"This torch ({torch.__version__}) is built without CUDA: install one with it, or use cpu or auto."
    if kind == "cuda":
        return "See whether nvidia-smi lists a GPU and CUDA_VISIBLE_DEVICES hides none, or use cpu or auto."
    return "Use cpu, or auto for the first accelerator that there is."
