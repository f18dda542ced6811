"""Devices to compute on."""

from __future__ import annotations

import torch

from sims.errors import NotSimulable

__all__ = ["check_device"]


def check_device(device: str) -> None:
    """Require that a device is available.

    Raises
    ------
    NotSimulable
    """
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        there = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
        raise NotSimulable(
            "models cannot be kept on this device",
            expected=" or ".join(there),
            got=device,
            remedy=str(error).splitlines()[0],
        ) from error
