"""Sources of randomness in users' code: found, seeded for a block of code, and put back after it."""

from __future__ import annotations

import gc
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import nn

from gossipfl.global_generator import global_generator

__all__ = ["Drawn", "clocks_read", "own_generators", "seeded", "watched"]

_CLOCKS = {
    "time": {
        "time",
        "time_ns",
        "perf_counter",
        "perf_counter_ns",
        "monotonic",
        "monotonic_ns",
        "process_time",
    },
    "datetime": {"now", "utcnow", "today"},
    "posix": {"urandom", "getrandom"},
}
#: What operators of torch call that compile themselves while they run: torch.cond, while_loop, flex_attention.
_COMPILES_ITSELF = "setup_compilation_env"
_INNOCENT = {"torch", "numpy", "logging", "warnings", "tqdm"}  # they measure and stamp
_NESTED = 3  # how deep generators are looked for in a module's attributes


@dataclass
class Drawn:
    """Which of the process's generators a block of code drew from."""

    torch: bool = False
    python: bool = False
    numpy: bool = False

    def __bool__(self) -> bool:
        return self.torch or self.python or self.numpy


@contextmanager
def seeded(seed: int, *generators: object, everything: bool = True) -> Iterator[None]:
    """Seed the process's generators for a block of code, and put them back after it.

    Parameters
    ----------
    seed : int
        Within 0 … 2**63 − 1.
    generators : object
        Further ones (`own_generators`), which are not put back.
    everything : bool
        Whether Python's and NumPy's are seeded too, or only torch's.
    """
    with global_generator() as of_torch:
        of_torch.manual_seed(seed)
        python, legacy = (random.getstate(), np.random.get_state()) if everything else (None, None)
        if everything:
            random.seed(seed)
            np.random.seed(seed % 2**32)
        for place, generator in enumerate(generators):
            _reseed(generator, (seed + place + 1) % 2**63)
        try:
            yield
        finally:
            if python is not None and legacy is not None:
                random.setstate(python)
                np.random.set_state(legacy)


@contextmanager
def watched() -> Iterator[Drawn]:
    """Find out which of the process's generators a block of code draws from."""
    drawn = Drawn()
    ours, python, legacy = torch.get_rng_state(), random.getstate(), _numpy_state()
    yield drawn
    drawn.torch = not torch.equal(ours, torch.get_rng_state())
    drawn.python = python != random.getstate()
    drawn.numpy = legacy != _numpy_state()


def _numpy_state() -> tuple[Any, ...]:
    name, keys, *rest = np.random.get_state()
    return (name, np.asarray(keys).tobytes(), *rest)


@contextmanager
def clocks_read() -> Iterator[set[str]]:
    """Find out which clocks, or entropy of the operating system, a block of code reads by itself.

    ``"torch.compile"`` among them says that it compiles itself while it runs, with state of the whole process.
    Under cProfile, whose place this would take, none is found.
    """
    found: set[str] = set()

    def profile(frame: FrameType, event: str, argument: Any) -> None:  # noqa: ANN401
        if event == "call" and frame.f_code.co_name == _COMPILES_ITSELF:
            found.add("torch.compile")
        if event != "c_call":
            return
        owner = getattr(argument, "__module__", None) or getattr(
            getattr(argument, "__self__", None), "__module__", None
        )
        if argument.__name__ not in _CLOCKS.get(str(owner), ()):
            return
        if _caller(frame) not in _INNOCENT:
            found.add(f"{owner}.{argument.__name__}")

    before, collects = sys.getprofile(), gc.isenabled()
    at_work: object = before
    if at_work is not None and not callable(at_work):  # cProfile, which could not be put back
        yield found
        return
    gc.disable()  # whose callbacks, of other libraries, may look at a clock
    sys.setprofile(profile)
    try:
        yield found
    finally:
        sys.setprofile(before)
        if collects:
            gc.enable()


def _caller(frame: FrameType | None) -> str:
    """The package whose code called a function, if need be through the standard library."""
    package = ""
    while frame is not None:
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package not in sys.stdlib_module_names or package in _INNOCENT:
            break
        frame = frame.f_back
    return package


def own_generators(module: nn.Module) -> tuple[Any, ...]:
    """Generators that a module holds among its attributes, and that of the accelerator it lies on."""
    found: dict[int, Any] = {}
    for child in module.modules():
        _collect(vars(child), found, _NESTED)
    device = next(module.parameters(), torch.empty(0)).device
    return (*found.values(), *_generators_of(device))


def _generators_of(device: torch.device) -> list[torch.Generator]:
    """The default generator of an accelerator; that of the CPU is the process's own."""
    match device.type:
        case "cuda":
            return [torch.cuda.default_generators[device.index or 0]]
        case "mps":
            return [torch.mps._get_default_mps_generator()]
        case _:
            return []


def _collect(value: Any, found: dict[int, Any], depth: int) -> None:  # noqa: ANN401
    if isinstance(value, torch.Generator | np.random.Generator | np.random.RandomState | random.Random):
        found[id(value)] = value
    elif depth and isinstance(value, dict):
        for each in value.values():
            _collect(each, found, depth - 1)
    elif depth and isinstance(value, list | tuple):
        for each in value:
            _collect(each, found, depth - 1)
    elif depth and hasattr(value, "__dict__") and not isinstance(value, type | nn.Module | torch.Tensor):
        _collect(vars(value), found, depth - 1)


def _reseed(generator: object, seed: int) -> None:
    match generator:
        case torch.Generator():
            generator.manual_seed(seed)
        case np.random.Generator():
            bits = generator.bit_generator
            bits.state = type(bits)(seed).state
        case np.random.RandomState():
            generator.seed(seed % 2**32)
        case random.Random():
            generator.seed(seed)
