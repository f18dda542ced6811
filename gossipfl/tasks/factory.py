"""Module factories: called with seeded generators, and required to return a new, equal module each time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from gossipfl.constants import constants_of, difference, digest
from gossipfl.errors import InvalidTask
from gossipfl.layout import SharePolicy, layout_of
from gossipfl.randomness import seeded
from topology.errors import ExplainedError

__all__ = ["constants_digest", "made", "require_common_start", "untrained_digest"]

Factory = Callable[[], nn.Module]
_WRAPPERS = (torch.jit.ScriptModule, nn.DataParallel, nn.parallel.DistributedDataParallel)


def made(factory: Factory, *, name: str, seed: int) -> nn.Module:
    """Make a module while torch's, Python's and NumPy's global generators are seeded.

    Parameters
    ----------
    factory : callable
    name : str
        Of the task, for messages.
    seed : int

    Raises
    ------
    InvalidTask
        If the factory fails, or does not return a module.
    """
    try:
        with seeded(seed), _torch_as_it_was():
            module = factory()
    except ExplainedError:
        raise
    except Exception as error:
        raise InvalidTask(
            f"the model factory of task {name!r} failed", got=f"{type(error).__name__}: {error}"
        ) from error
    if not isinstance(module, nn.Module):
        raise InvalidTask(
            f"the model factory of task {name!r} returned no module",
            expected="a torch.nn.Module",
            got=type(module).__name__,
        )
    if isinstance(module, _WRAPPERS) or hasattr(module, "_orig_mod"):
        raise InvalidTask(
            f"the model of task {name!r} is compiled, scripted or wrapped",
            expected="the module itself",
            got=type(module).__name__,
            remedy="Return what torch.compile, torch.jit or DataParallel was given; simulations compile it.",
        )
    return module


@contextmanager
def _torch_as_it_was() -> Iterator[None]:
    """Restore settings of the process that a factory may change: the default dtype and gradient mode."""
    dtype = torch.get_default_dtype()
    try:
        with torch.enable_grad():
            yield
    finally:
        torch.set_default_dtype(dtype)


def require_common_start(factory: Factory, *, name: str, seed: int, share: SharePolicy) -> None:
    """Make a module twice, and require that the two have nothing in common but their values.

    Raises
    ------
    InvalidTask
        If the factory returns the same module, parameter or buffer twice, or other values the second time.
    """
    first, second = (made(factory, name=name, seed=seed) for _ in range(2))
    own = {id(each): each_name for each_name, each in _tensors(first).items()}
    if first is second or any(id(each) in own for each in _tensors(second).values()):
        raise InvalidTask(
            f"the model factory of task {name!r} returns the same module twice, or parts of it",
            expected="a new module each time",
            remedy="Build it inside the function, or return copy.deepcopy(module).",
        )
    layouts = layout_of(first, share), layout_of(second, share)
    drifting = difference(
        {each: tensor.detach() for each, tensor in _tensors(first).items()},
        {each: tensor.detach() for each, tensor in _tensors(second).items()},
    ) or difference(constants_of(first, layouts[0]), constants_of(second, layouts[1]))
    if drifting is not None or layouts[0] != layouts[1]:
        raise InvalidTask(
            f"the model factory of task {name!r} gives another model the second time",
            expected="the same values from the same seed, on every peer and after every restart",
            got=f"{drifting or 'its parameters'} differs",
            remedy="Draw with torch, or with the global generators of random and numpy.random: these are seeded. "
            "A generator of your own needs a seed that is written down, and nothing may come from a clock.",
        )


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def constants_digest(module: nn.Module, share: SharePolicy) -> bytes:
    """SHA-256 of a module's constants, without those that belong to local parameters."""
    constants = constants_of(module, layout_of(module, share))
    return digest({name: value for name, value in constants.items() if not share.keeps_local(name)})


def untrained_digest(module: nn.Module, share: SharePolicy) -> bytes | None:
    """SHA-256 of a module's frozen parameters and buffers but those of local parts; None if there are none."""
    tensors = _tensors(module)
    untrained = {
        entry.name: tensors[entry.name].detach()
        for entry in layout_of(module, share).entries
        if entry.group == "untrained" and not share.keeps_local(entry.name)
    }
    return digest(untrained) if untrained else None
