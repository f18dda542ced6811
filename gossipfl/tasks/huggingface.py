"""Tasks from models of Hugging Face's transformers, in full or as low-rank adapters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from gossipfl.errors import InvalidTask
from gossipfl.layout import Layout
from gossipfl.tasks.metrics import class_accuracy, mean_absolute_error, r_squared
from gossipfl.tasks.pretrained import require_transformers

__all__ = ["AdapterAveraging", "LogitsLoss", "adapted", "averaged_products", "head_of", "logits_metrics"]

#: How adapters ``W + B A`` are averaged. ``factors``: A and B apart, which does not average their products.
#: ``frozen_a``: A stays at its common start and only B is trained, which does (FFA-LoRA, Sun et al., ICLR 2024).
AdapterAveraging = Literal["factors", "frozen_a"]
Head = Literal["classes", "positions", "next", "regression"]
_LORA_A, _LORA_B = ".lora_A.", ".lora_B."


def adapted(model: Callable[[], nn.Module], adapters: Any, averaging: AdapterAveraging) -> nn.Module:  # noqa: ANN401
    """Make a model in which only low-rank adapters are trained.

    Parameters
    ----------
    model : callable
        Makes a ``PreTrainedModel``.
    adapters : peft.LoraConfig
    averaging : {'factors', 'frozen_a'}

    Raises
    ------
    InvalidTask
        If peft is not installed, or the adapters fit no layer of the model.
    """
    require_transformers(what="adapters", library="peft")
    from peft import get_peft_model

    body = model()
    try:
        module: nn.Module = get_peft_model(body, adapters)
    except ValueError as error:  # target modules that are not there, or of a kind that has no adapters
        raise InvalidTask(
            "the adapters fit no layer of the model",
            expected=f"target_modules among {', '.join(_layers(body))}",
            got=str(error).split(". ")[0][:200],
        ) from None
    if averaging == "frozen_a":
        for name, parameter in module.named_parameters():
            if _LORA_A in name:
                parameter.requires_grad = False
    return module


def _layers(body: nn.Module) -> list[str]:
    """Last parts of the names of what adapters may be for: modules that have a matrix."""
    weights = ((name, getattr(module, "weight", None)) for name, module in body.named_modules())
    matrices = (name for name, weight in weights if isinstance(weight, Tensor) and weight.dim() > 1)
    return sorted({name.rpartition(".")[2] for name in matrices})


def head_of(module: nn.Module) -> Head:
    """The kind of prediction of a transformers model, from its class and configuration.

    Raises
    ------
    InvalidTask
        If it has no head that is known here.
    """
    config = getattr(module, "config", None)
    base = getattr(module, "get_base_model", None)  # of a model with adapters
    name = type(base() if callable(base) else module).__name__
    if name.endswith("ForSequenceClassification") and config is not None:
        return "regression" if config.num_labels == 1 else "classes"
    if name.endswith(("ForTokenClassification", "ForMaskedLM")):
        return "positions"
    if name.endswith(("ForCausalLM", "LMHeadModel")):
        return "next"
    if name.endswith("ForImageClassification"):
        return "classes"
    raise InvalidTask(
        f"what {name} predicts is not known",
        expected="a model for sequence, token or image classification, or a language model",
        remedy="Make a gossipfl.Task of it with a loss of its outputs: outputs are the model's own.",
    )


@dataclass(frozen=True)
class LogitsLoss:
    """Loss of a model's ``logits`` against labels; those of −100 are ignored.

    Parameters
    ----------
    head : {'classes', 'positions', 'next', 'regression'}
        A class, a class for each position, the next token, or a number.
    """

    head: Head

    def __call__(self, outputs: Any, targets: Tensor) -> Tensor:  # noqa: ANN401
        """Evaluate the mean over a batch."""
        logits, labels = compared(self.head, outputs, targets)
        if self.head == "regression":
            return functional.mse_loss(logits, labels)
        return functional.cross_entropy(logits, labels)


def compared(head: Head, outputs: Any, targets: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ANN401
    """Logits and labels in the shapes of torch's losses: ``[n, C, ...]`` and ``[n, ...]``."""
    logits: Tensor = outputs["logits"]
    if head == "next":
        logits, targets = logits[:, :-1], targets[:, 1:]
    if head == "regression":
        return logits.squeeze(-1), targets
    return (logits.movedim(-1, 1) if head in {"positions", "next"} else logits), targets


def logits_metrics(head: Head) -> dict[str, Callable[[Any, Tensor], Tensor]]:
    """Metrics of a head: accuracy, and perplexity of the next token; or R² and the mean absolute error."""

    def measured(metric: Callable[..., Tensor], outputs: Any, targets: Tensor) -> Tensor:  # noqa: ANN401
        return metric(*compared(head, outputs, targets))

    if head == "regression":
        return {"r2": partial(measured, r_squared), "mae": partial(measured, mean_absolute_error)}
    accuracy = partial(measured, partial(class_accuracy, ignore_index=-100))
    return {
        "accuracy": accuracy,
        **({"perplexity": partial(measured, _perplexity)} if head == "next" else {}),
    }


def _perplexity(logits: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(logits, labels).exp()


def averaged_products(rows: Tensor, weights: Tensor, layout: Layout) -> Tensor:
    """Average models with adapters so that the products ``B A`` are averaged, as nearly as their rank allows.

    The mean of products of rank r has a rank of up to B·r; the nearest of rank r is its truncated singular value
    decomposition (Eckart & Young 1936; FlexLoRA, Bai et al., NeurIPS 2024). The rest is averaged as it is.

    Parameters
    ----------
    rows : Tensor
        Shape ``[B, D]``.
    weights : Tensor
        Shape ``[B]``, summing to 1.
    layout : Layout

    Returns
    -------
    Tensor
        Shape ``[D]``.

    Raises
    ------
    InvalidTask
        If the layout has no pairs of factors.
    """
    mean = weights.to(rows.dtype) @ rows
    entries = {entry.name: entry for entry in layout.entries}
    pairs = [(entries[name], entries[name.replace(_LORA_A, _LORA_B)]) for name in entries if _LORA_A in name]
    if not pairs:
        raise InvalidTask("the model has no low-rank adapters", expected="parameters named lora_A and lora_B")
    for first, second in pairs:
        a = rows[:, first.offset : first.offset + first.size].reshape(-1, *first.shape)
        b = rows[:, second.offset : second.offset + second.size].reshape(-1, *second.shape)
        # (Σ w B A) = [w₁B₁ … ] [A₁; …]: decomposed through the thin factors, never as a whole matrix.
        left = (weights.to(rows.dtype)[:, None, None] * b).movedim(0, 1).reshape(second.shape[0], -1)
        q_left, r_left = torch.linalg.qr(left)
        q_right, r_right = torch.linalg.qr(a.reshape(-1, first.shape[1]).T)
        u, s, v = torch.linalg.svd(r_left @ r_right.T)
        rank = min(first.shape[0], len(s))
        root = s[:rank].sqrt()
        new_a, new_b = torch.zeros_like(a[0]), torch.zeros_like(b[0])
        new_b[:, :rank] = (q_left @ u[:, :rank]) * root
        new_a[:rank] = root[:, None] * (v[:rank] @ q_right.T)
        mean[first.offset : first.offset + first.size] = new_a.reshape(-1)
        mean[second.offset : second.offset + second.size] = new_b.reshape(-1)
    return mean
