"""Products of small matrices within traced and compiled programmes, by kernels of our own (`products.cpp`).

A library's products, also of many matrices at once, take two to three times as long.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import math
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from gossipfl.kernels.building import built, vector_flags
from sims.engine import compiled_lstm, compiled_scores
from sims.engine.graph_passes import is_call, shape_of

__all__ = [
    "OPERATOR",
    "product_shims",
    "source_digest",
    "traced_products",
    "with_products",
    "without_products",
]

logger = logging.getLogger(__name__)

aten = torch.ops.aten
_SOURCE = Path(__file__).with_suffix(".cpp")
_MOST_NUMBERS = 1 << 16  # of the second matrix: more would not stay in a core's cache beside the rest
_WORTH_A_CALL = 1 << 20  # multiplications: of fewer, calling Python for it would take longer than it saves
_LIBRARY = torch.library.Library("gossipfl", "FRAGMENT")
_LIBRARY.define("product(Tensor left, Tensor right, Tensor? bias=None) -> Tensor")
OPERATOR = torch.ops.gossipfl.product.default

_INTERFACE = """
#include <cstdint>
%s
extern "C" int products_product(const float* a, const int64_t* as, const float* b, const int64_t* bs,
                                const float* bias, float* out, int64_t B, int64_t M, int64_t K, int64_t N) {
  return products::product(a, as, b, bs, bias, out, B, M, K, N);
}
"""

# What inductor's code calls for the operation, with torch's own product where matrices lie otherwise.
_SHIM = """
AOTITorchError aoti_torch_cpu_product(AtenTensorHandle left, AtenTensorHandle right, AtenTensorHandle* bias,
                                      AtenTensorHandle* result) {
  int64_t *m, *n, *left_strides, *right_strides;
  void *a, *b, *out, *first = nullptr;
  aoti_torch_get_sizes(left, &m);
  aoti_torch_get_sizes(right, &n);
  aoti_torch_get_strides(left, &left_strides);
  aoti_torch_get_strides(right, &right_strides);
  aoti_torch_get_data_ptr(left, &a);
  aoti_torch_get_data_ptr(right, &b);
  int64_t* bias_strides;
  if (bias) aoti_torch_get_data_ptr(*bias, &first), aoti_torch_get_strides(*bias, &bias_strides);
  const int64_t sizes[3] = {m[0], m[1], n[2]}, strides[3] = {m[1] * n[2], n[2], 1};
  const int32_t number = aoti_torch_dtype_float32(), device = aoti_torch_device_type_cpu();
  AOTITorchError code = aoti_torch_empty_strided(3, sizes, strides, number, device, 0, result);
  if (code) return code;
  aoti_torch_get_data_ptr(*result, &out);
  const bool fits = !bias || bias_strides[0] == 1;
  if (fits &&
      products::product(static_cast<const float*>(a), left_strides, static_cast<const float*>(b), right_strides,
                        static_cast<const float*>(first), static_cast<float*>(out), m[0], m[1], m[2], n[2]))
    return AOTI_TORCH_SUCCESS;
  if (!bias) return aoti_torch_cpu_bmm_out(*result, left, right);
  return aoti_torch_cpu_baddbmm_out(*result, *bias, left, right, 1, 1);
}
"""


@torch.library.register_fake("gossipfl::product", lib=_LIBRARY)
def _form(left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
    del bias
    return left.new_empty(left.shape[0], left.shape[1], right.shape[2])


@cache
def _kernel() -> Any:
    """The kernel, to be called with pointers; None where it can be neither found nor compiled."""
    try:
        found = ctypes.CDLL(str(built("products", _INTERFACE % _source(), vector_flags()))).products_product
    except (OSError, subprocess.SubprocessError) as error:
        logger.info("traced products are torch's: %s", error)
        return None
    strides = ctypes.POINTER(ctypes.c_int64)
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    found.argtypes = [pointer, strides, pointer, strides, pointer, pointer, *[number] * 4]
    return found


_Strides = ctypes.c_int64 * 3


def _product(left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
    batch, rows, inner = left.shape
    columns = right.shape[2]
    fits = right.shape[:2] == (batch, inner) and (bias is None or bias.shape == (columns,))
    kernel = _kernel() if fits and left.dtype == right.dtype == torch.float32 else None
    if kernel is not None:
        bias = bias if bias is None else bias.contiguous()
        found = left.new_empty(batch, rows, columns)
        if kernel(
            left.data_ptr(),
            _Strides(*left.stride()),
            right.data_ptr(),
            _Strides(*right.stride()),
            None if bias is None else bias.data_ptr(),
            found.data_ptr(),
            batch,
            rows,
            inner,
            columns,
        ):
            return found
    return torch.bmm(left, right) if bias is None else torch.baddbmm(bias, left, right)


_LIBRARY.impl("product", _product, "CPU")


@cache
def _source() -> str:
    return _SOURCE.read_text()


@cache
def source_digest() -> str:
    """What compiled programmes depend on here."""
    text = _source() + _SHIM + compiled_lstm.shims_source() + compiled_scores.shims_source()
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def product_shims(graph: GraphModule) -> dict[Any, list[str]]:
    """What inductor's code calls for a graph's products, if it has any."""
    if not any(is_call(node, OPERATOR) for node in graph.graph.nodes):
        return {}
    return {OPERATOR: [f'"C++" {{\n{_source()}\n}}', _SHIM.strip()]}


def with_products(graph: GraphModule, *, least: int = 0) -> GraphModule:
    """Let a graph call these kernels for its products of at least so many multiplications."""
    for node in list(graph.graph.nodes):
        if not _is_small(node) or _multiplications(node) < least:
            continue
        if is_call(node, aten.bmm.default):
            node.target = OPERATOR
        else:
            _of_one_row(graph, node)
    graph.recompile()
    return graph


def traced_products(graph: GraphModule) -> GraphModule:
    """Let a graph that is not compiled call these kernels where that is worth a call."""
    worthwhile = [
        node for node in graph.graph.nodes if _is_small(node) and _multiplications(node) >= _WORTH_A_CALL
    ]
    if not worthwhile or _kernel() is None:
        return graph
    with_products(graph, least=_WORTH_A_CALL)
    for node in list(graph.graph.nodes):
        if is_call(node, aten.add.Tensor):
            _add_within(graph, node)
    graph.recompile()
    return graph


def _add_within(graph: GraphModule, node: Node) -> None:
    """Let a product begin with a bias that is added to it alone."""
    for product, bias in (node.args, node.args[::-1]):
        if not isinstance(bias, Node) or not is_call(product, OPERATOR) or node.kwargs:
            continue
        assert isinstance(product, Node)  # noqa: S101 - a call
        shape, dtype = shape_of(product), bias.meta["tensor_meta"].dtype
        fits = shape_of(bias) == shape[2:] and shape_of(node) == shape and dtype == torch.float32
        if fits and len(product.args) == 2 and len(product.users) == 1:
            with graph.graph.inserting_before(node):
                found = graph.graph.call_function(OPERATOR, (*product.args, bias))
            found.meta["tensor_meta"] = node.meta["tensor_meta"]
            node.replace_all_uses_with(found)
            graph.graph.erase_node(node)
            graph.graph.erase_node(product)
            return


def without_products(graph: GraphModule) -> GraphModule:
    """Let a graph call torch's products again."""
    for node in graph.graph.nodes:
        if is_call(node, OPERATOR):
            left, right, *bias = node.args
            node.target = aten.baddbmm.default if bias else aten.bmm.default
            node.args = (*bias, left, right)
    graph.recompile()
    return graph


def _of_one_row(graph: GraphModule, node: Node) -> None:
    """Let a product of two matrices be one of a batch, with its bias if there is one."""
    *bias, left, right = node.args
    meta = node.meta["tensor_meta"]
    rows, columns = shape_of(node)
    with graph.graph.inserting_before(node):

        def called(target: Any, shape: tuple[int, ...], *arguments: Any) -> Node:
            found = graph.graph.call_function(target, arguments)
            found.meta["tensor_meta"] = meta._replace(shape=torch.Size(shape))
            return found

        pair = [each for each in (left, right) if isinstance(each, Node)]
        lifted = [called(aten.unsqueeze.default, (1, *shape_of(each)), each, 0) for each in pair]
        product = called(OPERATOR, (1, rows, columns), *lifted, *bias)
        found = called(aten.squeeze.dim, (rows, columns), product, 0)
    node.replace_all_uses_with(found)
    graph.graph.erase_node(node)


def _is_small(node: Node) -> bool:
    if not is_call(node, aten.bmm.default, aten.mm.default, aten.addmm.default):
        return False
    if node.kwargs or node.meta["tensor_meta"].dtype != torch.float32:
        return False
    if is_call(node, aten.addmm.default) and shape_of(node.args[0]) != shape_of(node)[1:]:  # type: ignore[arg-type]
        return False
    *_, inner, columns = shape_of(node.args[-1])  # type: ignore[arg-type]
    return inner * columns <= _MOST_NUMBERS


def _multiplications(node: Node) -> int:
    right: Node = node.args[-1]  # type: ignore[assignment]
    return math.prod(shape_of(node)) * shape_of(right)[-2]
