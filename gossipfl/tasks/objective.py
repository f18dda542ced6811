"""A task's loss, with the shapes it compares checked, per-sample weights, and batches that are all ignored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from gossipfl.errors import GossipflError, InvalidTask
from gossipfl.tasks.loss_kinds import CLASS_LOSSES, SAME_SHAPE_LOSSES, loss_kind
from gossipfl.tasks.metrics import require_same_shape
from gossipfl.tasks.samples import Tree, Weighted, count, describe, in_memory, leaves, map_leaves, take

__all__ = ["Objective", "PlainLoss"]

_SAME_SHAPE = {getattr(functional, name): name for name in SAME_SHAPE_LOSSES}
_OF_CLASSES = {getattr(functional, name): name for name in CLASS_LOSSES}
_IGNORING = (functional.cross_entropy, functional.nll_loss)
_OF_SIGNS = ("soft_margin_loss", "hinge_embedding_loss")
_OUTPUTS, _TARGETS = 1, 2


class Objective:
    """The loss that training descends: ``objective(outputs, targets) -> scalar``.

    Parameters
    ----------
    loss : callable
        The author's, of a batch: the mean over its samples.

    Notes
    -----
    With `Weighted` targets it is ``Σ w ℓ / Σ w``, where ℓ is the loss of each sample as a batch of its own. A
    batch in which nothing counts, all classes ignored or all weights 0, has loss and gradient 0.
    """

    def __init__(self, loss: Callable[[Any, Any], Tensor]) -> None:
        self.loss = loss
        self.kind = loss_kind(loss)
        #: Class that a call of a torch loss ignored, and how many classes it had; as seen by `checked`.
        self.ignored: int | None = self.kind.ignore_index
        self.classes: int | None = None

    def __call__(self, outputs: Any, targets: Tree) -> Tensor:  # noqa: ANN401 - whatever a model returns
        """Evaluate the loss of a batch."""
        with _NothingCounted():
            return (
                self._weighted(outputs, targets)
                if isinstance(targets, Weighted)
                else self.loss(outputs, targets)
            )

    def _weighted(self, outputs: Any, weighted: Weighted) -> Tensor:  # noqa: ANN401
        targets, weights = weighted
        alone = (map_leaves(lambda leaf: leaf.unsqueeze(1), tree) for tree in (outputs, targets))
        losses = vmap(self.loss)(*alone)
        weights = weights.to(losses.dtype)
        if self.ignored is not None and isinstance(targets, Tensor) and not targets.is_floating_point():
            weights = weights * (targets != self.ignored).reshape(len(weights), -1).any(dim=1)
        total = weights.sum()
        return (weights * losses).sum() / torch.where(total > 0, total, torch.ones_like(total))

    def checked(self, outputs: Any, targets: Tree) -> Tensor:  # noqa: ANN401
        """Evaluate the loss of a batch, and check its comparisons.

        Raises
        ------
        InvalidTask
            If outputs and targets of different shapes are compared, so that they would be broadcast.
        """
        compared = targets.targets if isinstance(targets, Weighted) else targets
        self._require_batch(outputs, compared)
        watched = _Compared(outputs, compared, known=self.kind.has_classes, noting=self.classes is None)
        with watched:
            loss = self(outputs, targets)
        if watched.classes is not None:
            self.ignored, self.classes = watched.ignored, watched.classes
        return loss

    def try_sizes(self, outputs: Any, targets: Tree) -> None:  # noqa: ANN401
        """Check the loss on batches of other sizes: one size may happen to be that of another dimension.

        Raises
        ------
        InvalidTask
            As `checked`.
        """
        found = [leaf for leaf in leaves((outputs, targets)) if isinstance(leaf, Tensor)]
        size = count(targets)
        if any(leaf.dim() == 0 or len(leaf) != size for leaf in found):
            return
        for other in (size + 1, size + 2):
            index = torch.arange(other) % size
            try:
                self.checked(take(outputs, index), take(targets, index))
            except GossipflError:
                raise
            except Exception:  # noqa: S110 - a loss of pairs is right to refuse an odd batch
                pass

    def require_classes(self, targets: Tree) -> None:
        """Require that all targets are classes that the model has an output for.

        Raises
        ------
        InvalidTask
            If there is another class among them, or every single one is ignored.
        """
        compared = targets.targets if isinstance(targets, Weighted) else targets
        if self.classes is None or not isinstance(compared, Tensor) or compared.is_floating_point():
            return
        kept = compared if self.ignored is None else compared[compared != self.ignored]
        if not kept.numel():
            raise InvalidTask(
                "every target is ignored",
                expected=f"at least one target other than {self.ignored}",
                got=f"{compared.numel()} targets of {self.ignored}",
            )
        low, high = int(kept.min()), int(kept.max())
        if low < 0 or high >= self.classes:
            raise InvalidTask(
                "a target is a class that the model has no output for",
                expected=f"0 … {self.classes - 1}"
                + ("" if self.ignored is None else f", or {self.ignored} to ignore"),
                got=f"{low} … {high}",
                remedy="Number the classes from 0, or give the model as many outputs as there are.",
            )

    def may_count_nothing(self, targets: Tree) -> bool:
        """Whether a batch of these targets may have ignored or unequally weighted samples."""
        if isinstance(targets, Weighted):
            return True
        if not in_memory(targets):
            return True
        found = [leaf for leaf in leaves(targets) if not leaf.is_floating_point()]
        return self.ignored is not None and any(bool((leaf == self.ignored).any()) for leaf in found)

    def _require_batch(self, outputs: Any, targets: Tree) -> None:  # noqa: ANN401
        """Refuse shapes that cross-entropy would take for one sample of n classes."""
        alone = isinstance(outputs, Tensor) and outputs.dim() == 1
        if self.kind.has_classes and (alone or not isinstance(outputs, Tensor)):
            raise InvalidTask(
                f"{self.kind.name} does not fit these outputs and targets",
                expected="outputs [n, classes, …]",
                got=f"outputs {describe(outputs)} and targets {describe(targets)}",
                remedy="For one label a sample, yes or no, use binary_cross_entropy_with_logits."
                if alone
                else "Give the task a loss that selects what is compared.",
            )


class PlainLoss:
    """A task's loss of samples that all count alike, but for those that pad a batch."""

    def __init__(self, objective: Objective) -> None:
        self._objective = objective

    def __call__(self, outputs: Any, targets: Tree) -> Tensor:  # noqa: ANN401
        """Evaluate the loss of a batch."""
        return (self._objective if isinstance(targets, Weighted) else self._objective.loss)(outputs, targets)


class _NothingCounted(TorchFunctionMode):
    """While this is active, cross-entropy of a batch that is all ignored is 0, not 0 / 0."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Call an operator."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if func in _IGNORING and result.dim() == 0:
            _, targets = _first_two(args, kwargs)
            if not targets.is_floating_point():
                counts = (targets != _ignored_by(func, args, kwargs)).any()
                return torch.where(counts, result, torch.zeros_like(result))
        return result


class _Compared(TorchFunctionMode):
    """While this is active, an operation that broadcasts outputs against targets is refused.

    It follows which tensors come from the outputs and which from the targets, and looks where they meet.
    """

    def __init__(self, outputs: Any, targets: Tree, *, known: bool, noting: bool) -> None:  # noqa: ANN401
        super().__init__()
        self._known = known
        self._noting = noting
        self.classes: int | None = None
        self.ignored: int | None = None
        self._targets = targets
        self._origin: dict[int, tuple[Tensor, int]] = {}
        for tree, origin in ((outputs, _OUTPUTS), (targets, _TARGETS)):
            self._mark(tree, origin)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,  # noqa: ANN401
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Call an operator; note the origin of its result."""
        kwargs = kwargs or {}
        name = _SAME_SHAPE.get(func)
        if name is not None:
            first, second = _first_two(args, kwargs)
            require_same_shape(name, first, second)
            if name in _OF_SIGNS and not (second.is_floating_point() or second.dtype.is_signed):
                raise InvalidTask(  # torch negates them, and an unsigned number has no negative
                    f"{name} compares signs, and these targets have none",
                    expected="−1 or 1, as real numbers",
                    got=describe(second),
                )
        if self._noting and func in _OF_CLASSES:
            self._note_classes(func, args, kwargs)
        tensors = [leaf for leaf in leaves((args, dict(kwargs))) if isinstance(leaf, Tensor)]
        origins = [self._origin.get(id(tensor), (tensor, 0))[1] for tensor in tensors]
        meeting = sorted(origins) == [_OUTPUTS, _TARGETS]
        try:
            result = func(*args, **kwargs)
        except RuntimeError as error:
            if meeting and func not in _OF_CLASSES:
                raise self._refusal(tensors, origins) from error
            raise
        origin = 0
        for each in origins:
            origin |= each
        if meeting and _is_outer(result, tensors):
            raise self._refusal(tensors, origins)
        if origin:
            self._mark(result, origin)
        return result

    def _note_classes(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        """Note the number of classes, if the author's targets are compared unchanged."""
        outputs, targets = _first_two(args, kwargs)
        raw = self._targets
        if not isinstance(raw, Tensor) or raw.is_floating_point():
            return
        one_by_one = torch._C._functorch.is_batchedtensor(targets)
        if self._known if one_by_one else _same_numbers(raw, targets):
            self.classes = int(outputs.shape[1 if outputs.dim() > 1 else 0])
            self.ignored = _ignored_by(func, args, kwargs)

    def _mark(self, tree: Any, origin: int) -> None:  # noqa: ANN401
        for leaf in leaves(tree):
            if isinstance(leaf, Tensor):
                self._origin[id(leaf)] = (leaf, origin)  # kept alive: an id may be used again

    @staticmethod
    def _refusal(tensors: list[Tensor], origins: list[int]) -> InvalidTask:
        first, second = tensors if origins[0] == _OUTPUTS else reversed(tensors)
        try:
            require_same_shape("the loss", first, second)
        except InvalidTask as refusal:
            return refusal
        return InvalidTask(
            "the loss fails where outputs and targets meet",
            got=f"outputs {describe(first)} and targets {describe(second)}",
        )


def _same_numbers(first: Tensor, second: Tensor) -> bool:
    return first.numel() == second.numel() and torch.equal(first.reshape(-1), second.reshape(-1))


def _first_two(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, Any]:
    found = [*args[:2], *(kwargs[key] for key in ("input", "target") if key in kwargs)]
    return (found[0], found[1]) if len(found) >= 2 else (None, None)


def _ignored_by(func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int | None:
    """Class that a call of a torch loss ignores: the fifth argument of both that can."""
    if func not in _IGNORING:
        return None
    return int(kwargs.get("ignore_index", args[4] if len(args) > 4 else -100))


def _is_outer(result: Any, tensors: list[Tensor]) -> bool:  # noqa: ANN401
    """Whether two tensors were both broadcast against each other: ``[n, 1]`` and ``[n]`` to ``[n, n]``."""
    if not isinstance(result, Tensor) or result.dim() == 0:
        return False
    first, second = (tensor.shape for tensor in tensors)
    if len(first) == len(second) or result.shape in (first, second):
        return False
    aligned = [(1,) * (max(len(first), len(second)) - len(shape)) + tuple(shape) for shape in (first, second)]
    return tuple(result.shape) == tuple(max(pair) for pair in zip(*aligned, strict=True))
