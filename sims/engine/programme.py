"""Programmes: functions of tensors of fixed shapes, as fast as is worthwhile: eager, traced, captured or compiled.

Tracing removes the interpretation of the module, of autograd and of vmap, and takes a fraction of a second.
Compiling fuses what is left, and takes tens of seconds once; the outcome is kept in the user's cache and loaded
in milliseconds by later runs. Without a C++ compiler everything works, traced. On a GPU a traced function is
captured as a CUDA graph. Each is used only after it has given what the function itself gives, on rows of the run
and on others near them.
"""

from __future__ import annotations

import copy
import hashlib
import logging
import re
import tempfile
import time
import warnings
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.fx import GraphModule

from gossipfl.caches import code_directory, is_ours
from gossipfl.kernels.building import has_compiler, has_failed
from gossipfl.tasks.one_by_one import one_by_one
from sims.engine.allocator import return_released_memory
from sims.engine.attention_passes import (
    attention_as_products,
    attention_by_kernel,
    attention_without_kernel,
)
from sims.engine.captured import Captured, pays
from sims.engine.compiled_lstm import lstm_shims
from sims.engine.compiled_passes import for_the_compiler
from sims.engine.compiled_scores import score_shims
from sims.engine.gil_free import Unlocked, unlocked_runners
from sims.engine.graph_passes import classes_first, tidied
from sims.engine.kept_graphs import forget, keep, kept, place_of
from sims.engine.norm_passes import norms_as_operators, norms_by_kernel
from sims.engine.products import (
    product_shims,
    source_digest,
    traced_products,
    with_products,
    without_products,
)
from sims.engine.recurrence_passes import layers_of_tokens
from sims.engine.score_passes import scores_at_targets
from sims.engine.trials import Trials
from sims.world.trace_cache import Traces

__all__ = ["Compile", "Programme"]

logger = logging.getLogger(__name__)

Compile = Literal["auto", "always", "never"]
Function = Callable[..., Any]
_SECONDS_TO_START = 5.0  # of compiling: importing the compiler
_SECONDS_AN_OPERATION = 0.03  # two graphs of 4,500 together took some 120 s of CPU, one of 130 took 4
_WORTH = (
    2.0  # seconds of traced work that lies ahead, for each of compiling, which saves a third to two thirds
)
_OPTIONS: dict[str, Any] = {"cpp.threads": 1}
_SHIMS = "aot_inductor.custom_ops_to_c_shims"
_CONVOLUTIONS = torch.ops.aten.convolution, torch.ops.aten.convolution_backward
_SILENT_OPERATIONS = 600  # so few are compiled within what nobody takes for a hang


class Programme:
    """A function that is called many times with tensors of the same shapes.

    Parameters
    ----------
    function : callable
        Pure: it changes none of its arguments.
    example : sequence of Tensor
        Arguments as in every later call, but for the first dimension of those named in ``growing``.
    growing : sequence of int
        Arguments whose first dimension may differ in later calls.
    calls : int
        How often it will be called, as far as is known.
    compile_when : {'auto', 'always', 'never'}
        Whether to compile: when it saves time (never what has convolutions), always, or never.
    threads : int
        Number of threads that will call it at once.
    name : str
        Its name in messages.
    traces : Traces, optional
        Graphs of earlier programmes.
    recipe : hashable
        Everything the function depends on besides its arguments; an earlier graph is reused only if this is equal.
    before_tracing : callable, optional
        Called before the function is traced.
    unlocked : bool
        Whether `unlocked` is wanted for a single thread too.

    Attributes
    ----------
    unlocked : list of Unlocked
        For each thread the compiled function, to be called without the interpreter; empty where that cannot be.
    """

    def __init__(
        self,
        function: Function,
        example: Sequence[Tensor],
        *,
        growing: Sequence[int],
        calls: float,
        compile_when: Compile,
        threads: int,
        name: str,
        traces: Traces | None = None,
        recipe: Hashable = None,
        before_tracing: Callable[[], None] = lambda: None,
        unlocked: bool = False,
    ) -> None:
        self.name = name
        self.unlocked: list[Unlocked] = []
        self.tier: Literal["eager", "traced", "captured", "compiled"] = "eager"
        self.thread_safe = False
        self.operations = 0  # of the traced graph
        self._runs: list[Function] = [function] * threads
        arguments = tuple(example)
        key = (recipe, name, _shapes(arguments, growing), str(arguments[0].device))
        read = _pointed_at(arguments) if 0 in growing else None
        graph, trials = traces.get(key) if traces is not None else None, None
        place = place_of(key) if recipe is not None and arguments[0].device.type == "cpu" else None
        if graph is None and place is not None:
            graph, trials = self._kept(place, function, arguments, read)
        if trials is None:
            trials = Trials(function, arguments, read=read)
        if graph is None:
            before_tracing()
            graph = self._traced(function, arguments, trials)
            if graph is None:
                return
            if place is not None and not has_failed():  # or it would stay without kernels
                graph = keep(place, graph)
            return_released_memory()
        self._runs, self.tier, self.thread_safe = [graph] * threads, "traced", True
        self.operations = len(graph.graph.nodes)
        if traces is not None:
            traces[key] = graph
        if self._captured(graph, arguments, trials):
            return
        if compile_when == "never" or arguments[0].device.type != "cpu":
            return
        if compile_when == "auto" and _convolves(graph):
            return
        rewritten = self._rewritten(graph)
        package = self._package_file(rewritten, arguments, growing)
        if is_ours(package) or compile_when == "always" or self._is_worth_it(graph, arguments, calls):
            self._compile(rewritten, arguments, growing, package, threads, trials, unlocked=unlocked)

    def __call__(self, thread: int, *arguments: Tensor) -> Any:
        """Call the function from thread number ``thread``."""
        return self._runs[thread](*arguments)

    @staticmethod
    def _kept(
        place: Path, function: Function, arguments: tuple[Tensor, ...], read: Tensor | None
    ) -> tuple[GraphModule | None, Trials | None]:
        """The graph of an earlier run, and trials that it passed: what the module itself gives, row by row."""
        graph = kept(place)
        if graph is None:
            return None, None

        def alone(*tensors: Tensor) -> Any:
            with one_by_one():
                return function(*tensors)

        try:
            trials = Trials(alone, arguments, read=read)
            trials.require(graph)
        except Exception as error:  # it is traced again, and what else may be wrong is said then
            logger.info("a graph of an earlier run is not used: %s", error)
            forget(place)
            return None, None
        return graph, trials

    def _traced(
        self, function: Function, arguments: tuple[Tensor, ...], trials: Trials
    ) -> GraphModule | None:
        def plain(*tensors: Tensor) -> Any:  # methods and callable objects cannot be traced as such
            return function(*tensors)

        # Imports sympy and the compiler, a second that runs with kept graphs save.
        from torch.fx.experimental.proxy_tensor import make_fx

        try:
            with torch.no_grad():
                graph = make_fx(plain)(*arguments)
            trials.require(graph)
        except Exception as error:  # whatever a user's module may do while being traced
            logger.warning(
                "%s runs eagerly, with the same results but more slowly, for it cannot be traced: %s",
                self.name,
                _first_sentence(error),
            )
            return None
        try:
            rewritten = copy.deepcopy(graph)
            if is_on_cpu := arguments[0].device.type == "cpu":
                layers_of_tokens(scores_at_targets(rewritten))
                norms_by_kernel(attention_by_kernel(rewritten))
            classes_first(attention_as_products(rewritten))
            if is_on_cpu:
                traced_products(rewritten)
            tidied(rewritten)
            trials.require(rewritten)
        except Exception as error:
            logger.info("%s is traced without changes to its memory layout: %s", self.name, error)
            return graph
        return rewritten

    def _rewritten(self, graph: GraphModule) -> GraphModule:
        """The graph as the compiler is to have it."""
        try:
            plain = norms_as_operators(attention_without_kernel(copy.deepcopy(graph)))
            return with_products(for_the_compiler(tidied(plain)))
        except Exception as error:  # whatever a user's module may have been traced to
            logger.info("%s is compiled as it was traced: %s", self.name, error)
            return graph

    def _captured(self, graph: GraphModule, arguments: tuple[Tensor, ...], trials: Trials) -> bool:
        if len(self._runs) > 1 or not pays(arguments, trials.expected):
            return False
        try:
            captured = Captured(graph, arguments)
            trials.require(captured)
        except Exception as error:  # a traced graph may wait for a result, or copy from the CPU
            logger.warning("%s is not captured and runs traced, more slowly: %s", self.name, error)
            return False
        self._runs, self.tier, self.thread_safe = [captured], "captured", False
        return True

    def _is_worth_it(self, graph: GraphModule, arguments: tuple[Tensor, ...], calls: float) -> bool:
        if not has_compiler():
            return False
        graph(*arguments)
        start = time.perf_counter()
        graph(*arguments)
        compiling = _SECONDS_TO_START + _SECONDS_AN_OPERATION * len(graph.graph.nodes)
        return (time.perf_counter() - start) * calls > _WORTH * compiling

    def _package_file(
        self, graph: GraphModule, arguments: tuple[Tensor, ...], growing: Sequence[int]
    ) -> Path:
        shapes = list(_shapes(arguments, growing))
        constants = [(name, _digest(value)) for name, value in graph.named_buffers()]
        machine = torch.__version__, torch.backends.cpu.get_cpu_capability(), source_digest()
        text = repr((graph.code, shapes, constants, *machine))
        return code_directory("compiled") / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.pt2"

    def _compile(
        self,
        graph: GraphModule,
        arguments: tuple[Tensor, ...],
        growing: Sequence[int],
        package: Path,
        threads: int,
        trials: Trials,
        *,
        unlocked: bool,
    ) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if not is_ours(package):  # it is code: somebody else's is not loaded
                    self._make_package(graph, arguments, growing, package)
                loaded = _loaded(package)
                trials.require(loaded)
                with torch.no_grad():
                    expected = loaded(*arguments)
                several = None
                if (threads > 1 or unlocked) and isinstance(expected, list):
                    several = unlocked_runners(package, threads, arguments=arguments, expected=expected)
        except Exception as error:  # the compiler is a convenience: whatever it meets, the traced graph works
            logger.warning("%s could not be compiled and runs traced, more slowly: %s", self.name, error)
            return
        self.unlocked = several or []
        self._runs = [*several] if several and threads > 1 else [loaded] * threads
        self.thread_safe = several is not None or threads == 1
        self.tier = "compiled"

    def _make_package(
        self,
        graph: GraphModule,
        arguments: tuple[Tensor, ...],
        growing: Sequence[int],
        package: Path,
    ) -> None:
        operations = len(graph.graph.nodes)
        level = logging.INFO if operations <= _SILENT_OPERATIONS else logging.WARNING
        what = "compiling %s, once, before the first round: %d operations, some %.0f s of CPU"
        logger.log(level, what, self.name, operations, _SECONDS_AN_OPERATION * operations)
        dynamic = [{0: torch.export.Dim.DYNAMIC} if k in growing else None for k in range(len(arguments))]

        def make(graph: GraphModule) -> None:
            shims = {**product_shims(graph), **lstm_shims(graph), **score_shims(graph)}
            options = {**_OPTIONS, **({_SHIMS: shims} if shims else {})}
            with tempfile.TemporaryDirectory(dir=package.parent) as folder, torch.no_grad():
                exported = torch.export.export(graph, arguments, dynamic_shapes=tuple(dynamic))
                made = torch._inductor.aoti_compile_and_package(
                    exported, package_path=str(Path(folder) / package.name), inductor_configs=options
                )
                Path(made).chmod(0o600)
                Path(made).replace(package)

        try:
            make(graph)
        except Exception as error:  # an older torch, or a compiler that knows no vectors
            if not product_shims(graph):
                raise
            logger.info("%s is compiled with torch's products: %s", self.name, error)
            make(without_products(graph))


def _convolves(graph: GraphModule) -> bool:
    """Whether a convolution or its gradient is computed: torch's own, traced, are faster than compiled ones."""
    called = (node.target for node in graph.graph.nodes)
    return any(getattr(target, "overloadpacket", None) in _CONVOLUTIONS for target in called)


def _pointed_at(arguments: tuple[Tensor, ...]) -> Tensor:
    """Rows of the first argument that integers in the others may stand for; some too many do no harm."""
    table, *others = arguments
    integers = [each.reshape(-1).long() for each in others if not each.dtype.is_floating_point]
    found = torch.cat([torch.empty(0, dtype=torch.int64, device=table.device), *integers]).unique()
    return found[(found >= 0) & (found < len(table))]


def _digest(tensor: Tensor) -> str:
    """Form and numbers of a constant: the text of a tensor leaves out most of a large one."""
    numbers = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return f"{list(tensor.shape)} {tensor.dtype} {hashlib.sha256(numbers.data).hexdigest()}"


def _first_sentence(error: BaseException) -> str:
    """Say what an error is at its root; what torch advises after that is for those who trace."""
    while error.__cause__ is not None:
        error = error.__cause__
    said = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {re.split(r'(?<=[^.])[.!] | - ', said)[0][:200]}"


def _shapes(arguments: Sequence[Tensor], growing: Sequence[int]) -> tuple[tuple[tuple[int, ...], str], ...]:
    """Shape and dtype of each argument, without the dimensions that may grow."""
    return tuple(
        (tuple(a.shape[1:] if k in growing else a.shape), str(a.dtype)) for k, a in enumerate(arguments)
    )


def _loaded(package: Path) -> Function:
    """Load a compiled programme past torch's wrapper, which maps keyword arguments and imports the compiler."""
    run = torch._C._aoti.AOTIModelPackageLoader(str(package), "model", False, 1, -1).run  # noqa: FBT003

    def call(*arguments: Tensor) -> Any:
        return run(list(arguments))

    return call
