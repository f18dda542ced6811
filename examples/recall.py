"""A metric of one's own: the mean over the classes present of the share of each that is recognised.

Name it in ``[task] metrics`` of a scenario or of ``peer.toml``, as ``recall:macro_recall``::

    gossipfl sim run digits --set 'task.metrics=["recall:macro_recall"]'
"""

import torch
from torch import Tensor


def macro_recall(outputs: Tensor, targets: Tensor) -> Tensor:
    """Scalar within 0 … 1, from outputs ``[S, classes]`` and targets ``[S]``."""
    classes = outputs.shape[-1]
    right = (outputs.argmax(dim=-1) == targets).to(outputs.dtype)
    counts = torch.zeros(classes, dtype=outputs.dtype).index_add(0, targets, torch.ones_like(right))
    found = torch.zeros(classes, dtype=outputs.dtype).index_add(0, targets, right)
    return (found / counts.clamp(min=1)).sum() / (counts > 0).sum()
