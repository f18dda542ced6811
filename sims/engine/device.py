"""The device that a simulation computes on, by its name."""

from __future__ import annotations

import torch

from gossipfl.training.exact import compute_exactly
from sims.errors import NotSimulable

__all__ = ["device_of"]


def device_of(name: str) -> torch.device:
    """Return a device that is there, and have it compute as the CPU does, up to the order of sums.

    Parameters
    ----------
    name : str
        ``"cpu"``, ``"cuda"`` or any torch device.

    Raises
    ------
    NotSimulable
        If torch knows no such device, or it is not there.
    """
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        there = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
        raise NotSimulable(
            "models cannot be kept on this device",
            expected=" or ".join(there),
            got=name,
            remedy=str(error).splitlines()[0],
        ) from error
    device = torch.device(name)
    compute_exactly(device)
    return device
