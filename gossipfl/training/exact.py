"""Arithmetic of an accelerator in whole float32, and the same each time, as that of the CPU."""

from __future__ import annotations

import torch

__all__ = ["compute_exactly"]


def compute_exactly(device: torch.device) -> None:
    """Have convolutions and recurrent layers on a GPU computed in whole float32, by the same algorithms each time.

    By default cuDNN may round their inputs to 10 bits (TF32), and choose algorithms whose sums depend on the
    order in which threads come. This holds for the whole process.
    """
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.deterministic = True
