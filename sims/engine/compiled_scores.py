"""Ends of classifiers within compiled programmes, by the kernel that traced ones call."""

from __future__ import annotations

from functools import cache
from typing import Any

from torch.fx import GraphModule

from gossipfl.kernels import scores
from sims.engine.graph_passes import is_call

__all__ = ["score_shims", "shims_source"]

_SHIM = """
AOTITorchError aoti_torch_cpu_scores_at_targets(AtenTensorHandle inputs, AtenTensorHandle weights,
                                                AtenTensorHandle* bias, AtenTensorHandle targets, int64_t ignored,
                                                AtenTensorHandle* logarithms, AtenTensorHandle* largest) {
  int64_t *sizes, *classes, *of_inputs, *of_weights, *of_bias, *of_targets;
  void *a, *b, *c = nullptr, *d, *out[2];
  aoti_torch_get_sizes(inputs, &sizes);
  aoti_torch_get_sizes(weights, &classes);
  aoti_torch_get_strides(inputs, &of_inputs);
  aoti_torch_get_strides(weights, &of_weights);
  aoti_torch_get_strides(targets, &of_targets);
  aoti_torch_get_data_ptr(inputs, &a);
  aoti_torch_get_data_ptr(weights, &b);
  aoti_torch_get_data_ptr(targets, &d);
  if (bias) aoti_torch_get_data_ptr(*bias, &c), aoti_torch_get_strides(*bias, &of_bias);
  const int64_t strides[2] = {sizes[1], 1};
  const int32_t kinds[2] = {aoti_torch_dtype_float32(), aoti_torch_dtype_int64()};
  AtenTensorHandle* results[2] = {logarithms, largest};
  for (int k = 0; k < 2; ++k) {
    AOTITorchError code = aoti_torch_empty_strided(2, sizes, strides, kinds[k], aoti_torch_device_type_cpu(), 0,
                                                   results[k]);
    if (code) return code;
    aoti_torch_get_data_ptr(*results[k], &out[k]);
  }
  const scores::Layer layer{
      sizes[0], sizes[1], sizes[2], classes[1],
      static_cast<const float*>(a), of_inputs[0], of_inputs[1], of_inputs[2],
      static_cast<const float*>(b), of_weights[0], of_weights[1], of_weights[2],
      static_cast<const float*>(c), c ? of_bias[0] : 0, c ? of_bias[1] : 0,
      static_cast<const int64_t*>(d), of_targets[0], of_targets[1], ignored,
      static_cast<float*>(out[0]), static_cast<int64_t*>(out[1])};
  return scores::at_targets(layer) == scores::kDone ? AOTI_TORCH_SUCCESS : AOTI_TORCH_FAILURE;
}
"""


@cache
def shims_source() -> str:
    """What compiled programmes depend on here."""
    return scores.source() + _SHIM


def score_shims(graph: GraphModule) -> dict[Any, list[str]]:
    """What inductor's code calls for a graph's ends of classifiers, if it has any."""
    if not any(is_call(node, scores.OPERATOR) for node in graph.graph.nodes):
        return {}
    return {scores.OPERATOR: [f'"C++" {{\n{scores.source()}\n}}', _SHIM.strip()]}
