"""Products of many small matrices within compiled programmes, by kernels of our own (`products.cpp`).

For matrices of tens by tens a library's batched product takes two to three times as long.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from sims.engine.compiled_lstm import shims_source
from sims.engine.graph_passes import is_call, shape_of

__all__ = ["product_shims", "source_digest", "with_products", "without_products"]

_SOURCE = Path(__file__).with_suffix(".cpp")
_MOST_NUMBERS = 1 << 16  # of the second matrix: more would not stay in a core's cache beside the rest
_LIBRARY = torch.library.Library("gossipfl", "FRAGMENT")
_LIBRARY.define("product(Tensor left, Tensor right) -> Tensor")
_LIBRARY.impl("product", torch.bmm, "CPU")

# What inductor's code calls for the operation, with torch's own product where matrices lie otherwise.
_SHIM = """
AOTITorchError aoti_torch_cpu_product(AtenTensorHandle left, AtenTensorHandle right, AtenTensorHandle* result) {
  int64_t *m, *n, *left_strides, *right_strides;
  void *a, *b, *out;
  aoti_torch_get_sizes(left, &m);
  aoti_torch_get_sizes(right, &n);
  aoti_torch_get_strides(left, &left_strides);
  aoti_torch_get_strides(right, &right_strides);
  aoti_torch_get_data_ptr(left, &a);
  aoti_torch_get_data_ptr(right, &b);
  const int64_t sizes[3] = {m[0], m[1], n[2]}, strides[3] = {m[1] * n[2], n[2], 1};
  const int32_t number = aoti_torch_dtype_float32(), device = aoti_torch_device_type_cpu();
  AOTITorchError code = aoti_torch_empty_strided(3, sizes, strides, number, device, 0, result);
  if (code) return code;
  aoti_torch_get_data_ptr(*result, &out);
  if (products::product(static_cast<const float*>(a), left_strides, static_cast<const float*>(b), right_strides,
                        static_cast<float*>(out), m[0], m[1], m[2], n[2]))
    return AOTI_TORCH_SUCCESS;
  return aoti_torch_cpu_bmm_out(*result, left, right);
}
"""


@torch.library.register_fake("gossipfl::product", lib=_LIBRARY)
def _form(left: Tensor, right: Tensor) -> Tensor:
    return left.new_empty(left.shape[0], left.shape[1], right.shape[2])


@cache
def _source() -> str:
    return _SOURCE.read_text()


@cache
def source_digest() -> str:
    """What compiled programmes depend on here."""
    return hashlib.sha256((_source() + _SHIM + shims_source()).encode()).hexdigest()[:16]


def product_shims(graph: GraphModule) -> dict[Any, list[str]]:
    """What inductor's code calls for a graph's products, if it has any."""
    if not any(is_call(node, torch.ops.gossipfl.product.default) for node in graph.graph.nodes):
        return {}
    return {torch.ops.gossipfl.product.default: [f'"C++" {{\n{_source()}\n}}', _SHIM.strip()]}


def with_products(graph: GraphModule) -> GraphModule:
    """Let a graph call these kernels where there are any for its products."""
    for node in graph.graph.nodes:
        if _is_small(node):
            node.target = torch.ops.gossipfl.product.default
    graph.recompile()
    return graph


def without_products(graph: GraphModule) -> GraphModule:
    """Let a graph call torch's products again."""
    for node in graph.graph.nodes:
        if is_call(node, torch.ops.gossipfl.product.default):
            node.target = torch.ops.aten.bmm.default
    graph.recompile()
    return graph


def _is_small(node: Node) -> bool:
    if not is_call(node, torch.ops.aten.bmm.default) or node.meta["tensor_meta"].dtype != torch.float32:
        return False
    right = shape_of(node.args[1])  # type: ignore[arg-type]
    return right[1] * right[2] <= _MOST_NUMBERS
