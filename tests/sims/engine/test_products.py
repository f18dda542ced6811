"""Products of small matrices: our kernels against torch's, and graphs for the compiler against their origin."""

import ctypes
import itertools
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional

import sims.engine.products as products
from gossipfl.kernels.building import has_compiler
from sims.engine.compiled_passes import for_the_compiler
from sims.engine.graph_passes import classes_first, shape_of, swaps_last
from sims.engine.products import OPERATOR, product_shims, traced_products, with_products, without_products
from sims.engine.written_graphs import read, written

COMPILER = shutil.which("g++") or shutil.which("clang++")
ENTRY = """
#include <cstdint>
#include "{source}"
extern "C" int product(const float* a, const int64_t* as, const float* b, const int64_t* bs, const float* bias,
                       float* out, int64_t B, int64_t M, int64_t K, int64_t N) {{
  return products::product(a, as, b, bs, bias, out, B, M, K, N);
}}
"""


@pytest.fixture(scope="module", params=["native", "x86-64-v3"])
def kernel(request, tmp_path_factory):
    """The kernels, for this machine and for one whose vectors are half as long."""
    if COMPILER is None:
        pytest.skip("there is no C++ compiler")
    folder = tmp_path_factory.mktemp("products")
    source, library = folder / "entry.cpp", folder / "entry.so"
    source.write_text(ENTRY.format(source=Path(products.__file__).with_suffix(".cpp")))
    flags = ["-O1", f"-march={request.param}", "-std=c++20", "-shared", "-fPIC"]
    done = subprocess.run(
        [COMPILER, *flags, source, "-o", library], check=False, capture_output=True, text=True
    )
    if done.returncode and request.param != "native":
        pytest.skip(f"not this processor: {done.stderr[:80]}")
    assert not done.returncode, done.stderr
    return ctypes.CDLL(str(library)).product


def multiplied(kernel, left, right, bias=None):
    """Their products, begun at a bias, and whether there was a kernel."""
    batch, rows, inner = left.shape
    columns = right.shape[2]
    result = torch.full((batch, rows, columns), torch.nan)
    strides = [(ctypes.c_int64 * 3)(*each.stride()) for each in (left, right)]
    pointers = [ctypes.c_void_p(each.data_ptr()) for each in (left, right, result)]
    sizes = map(ctypes.c_int64, (batch, rows, inner, columns))
    first = ctypes.c_void_p(None if bias is None else bias.data_ptr())
    done = kernel(pointers[0], strides[0], pointers[1], strides[1], first, pointers[2], *sizes)
    return result, bool(done)


def matrices(*shape, transposed):
    drawn = torch.Generator().manual_seed(sum(shape))
    if transposed:
        return torch.randn(shape[0], shape[2], shape[1], generator=drawn).transpose(1, 2)
    return torch.randn(*shape, generator=drawn)


def test_every_shape_and_layout_gives_torchs_product(kernel):
    kernels = 0
    sizes = (1, 4, 5, 6, 11), (1, 3, 8, 9, 15, 16, 17, 33), (1, 3, 4, 5, 8, 9, 15, 16, 20, 33, 64, 71)
    for rows, inner, columns in itertools.product(*sizes):
        for turned in itertools.product((False, True), repeat=2):
            left = matrices(3, rows, inner, transposed=turned[0])
            right = matrices(3, inner, columns, transposed=turned[1])
            found, done = multiplied(kernel, left, right)
            if done:
                kernels += 1
                assert torch.allclose(found, left @ right, rtol=1e-5, atol=1e-5), (
                    rows,
                    inner,
                    columns,
                    turned,
                )
            else:
                assert found.isnan().all()
    assert kernels > 1000


@pytest.mark.parametrize("columns", [1, 4, 9, 16, 33, 70])
@pytest.mark.parametrize("rows", [3, 130])
@pytest.mark.parametrize("inner", [5, 16, 41])
def test_a_bias_is_added_and_what_many_rows_share_is_turned(kernel, rows, inner, columns):
    bias, kernels = torch.randn(columns), 0
    for turned in itertools.product((False, True), repeat=2):
        left = matrices(2, rows, inner, transposed=turned[0])
        right = matrices(2, inner, columns, transposed=turned[1])
        for factor in (right, right[:1].expand(2, -1, -1)):
            for first in (bias, None):
                found, done = multiplied(kernel, left, factor, first)
                kernels += done
                if done:
                    expected = left @ factor + (0 if first is None else first)
                    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert kernels >= (8 if columns >= 4 else 0)


def test_strided_rows_and_one_matrix_for_all(kernel):
    """As slices of rows of models are, and what is the same for all nodes."""
    rows = torch.randn(3, 700)
    left = rows[:, 20:660].view(3, 10, 64)
    shared = torch.randn(1, 20, 64).expand(3, 20, 64).transpose(1, 2)
    found, done = multiplied(kernel, left, shared)
    assert done
    assert torch.allclose(found, left @ shared, rtol=1e-5, atol=1e-5)


def test_numbers_beyond_all_bounds_stay_where_they_are(kernel):
    """Vectors overlap at the ends of rows: a number there must not be taken twice, nor from a neighbour."""
    left, right = torch.randn(2, 3, 19), torch.randn(2, 6, 19)
    left[0, 1, 2], right[1, 5, 18] = torch.inf, torch.nan
    found, done = multiplied(kernel, left, right.transpose(1, 2))
    assert done
    assert torch.allclose(found, left @ right.transpose(1, 2), rtol=1e-5, atol=1e-5, equal_nan=True)


def test_a_product_depends_on_its_own_matrices_alone(kernel):
    left, right = torch.randn(7, 10, 64), torch.randn(7, 20, 64)
    together, _ = multiplied(kernel, left, right.transpose(1, 2))
    for k in range(7):
        alone, _ = multiplied(kernel, left[k : k + 1], right[k : k + 1].transpose(1, 2))
        assert torch.equal(alone[0], together[k])


def slope_of(rows, inputs, targets):
    """A step of logistic regression, as vmap and autograd write it down."""

    def loss(row, inputs, targets):
        return functional.cross_entropy(functional.linear(inputs, row[:50].view(5, 10), row[50:]), targets)

    return (rows - 0.5 * torch.func.vmap(torch.func.grad(loss))(rows, inputs, targets),)


def step():
    drawn = torch.Generator().manual_seed(4)
    rows, inputs = torch.randn(6, 55, generator=drawn), torch.randn(6, 12, 10, generator=drawn)
    targets = torch.randint(0, 5, (6, 12), generator=drawn)
    targets[2, 3] = -100  # left out of the loss
    return classes_first(make_fx(slope_of)(rows, inputs, targets)), (rows, inputs, targets)


def test_between_two_products_there_is_one_order_of_memory():
    graph, arguments = step()
    rewritten = for_the_compiler(graph)
    assert torch.allclose(rewritten(*arguments)[0], slope_of(*arguments)[0], rtol=1e-5, atol=1e-6)
    called = [node for node in rewritten.graph.nodes if node.op == "call_function"]
    (softmax,) = [node for node in called if node.target is torch.ops.aten._softmax.default]
    assert shape_of(softmax) == (6, 5, 12)
    first, second = [node for node in called if node.target is torch.ops.aten.bmm.default]
    between = called[called.index(first) + 1 : called.index(second)]
    assert not [node for node in between if swaps_last(node)]
    gone = (
        torch.ops.aten.gather.default,
        torch.ops.aten._log_softmax.default,
        torch.ops.aten.ones_like.default,
    )
    assert not [node for node in called if node.target in gone]


def test_a_loss_that_is_asked_for_is_kept():
    def both(rows, inputs, targets):
        def loss(row, inputs, targets):
            return functional.cross_entropy(inputs @ row.view(10, 5), targets)

        slope, value = torch.func.vmap(torch.func.grad_and_value(loss))(rows, inputs, targets)
        return slope, value

    _, (rows, inputs, targets) = step()
    arguments = rows[:, :50].clone(), inputs, targets
    graph = classes_first(make_fx(both)(*arguments))
    for found, expected in zip(for_the_compiler(graph)(*arguments), both(*arguments), strict=True):
        assert torch.allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_label_out_of_range_is_an_error_still():
    graph, (rows, inputs, targets) = step()
    targets[1, 1] = 5
    with pytest.raises((RuntimeError, IndexError)):
        for_the_compiler(graph)(rows, inputs, targets)


def test_large_products_and_other_numbers_are_left_to_torch():
    def product(left, right):
        return (torch.bmm(left, right),)

    small = make_fx(product)(torch.randn(2, 4, 8), torch.randn(2, 8, 16))
    large = make_fx(product)(torch.randn(1, 2, 512), torch.randn(1, 512, 512))
    double = make_fx(product)(torch.randn(2, 4, 8).double(), torch.randn(2, 8, 16).double())
    served = [bool(product_shims(with_products(each))) for each in (small, large, double)]
    assert served == [True, False, False]
    left, right = torch.randn(2, 4, 8), torch.randn(2, 8, 16)
    assert torch.allclose(small(left, right)[0], left @ right, rtol=1e-5, atol=1e-5)


def layers(rows, inputs):
    """Products with and without a bias, of one row and of several."""
    weights, bias = rows[:, :1280].view(3, 20, 64), rows[0, 1280:]
    hidden = inputs @ weights.mT
    return torch.addmm(bias, inputs[0], weights[0].T), inputs[1] @ weights[1].T, hidden


def test_traced_products_are_torchs_to_rounding():
    """Those that are worth a call, and none that take a weight from the bias."""
    arguments = torch.randn(3, 1300), torch.randn(3, 900, 64)
    graph = make_fx(layers)(*arguments)
    expected = layers(*arguments)
    rewritten = traced_products(graph)
    called = [node for node in rewritten.graph.nodes if node.target is OPERATOR]
    assert len(called) == (3 if has_compiler() else 0)
    again = read(written(rewritten))
    for function in (rewritten, again, without_products(rewritten)):
        for one, other in zip(function(*arguments), expected, strict=True):
            assert torch.allclose(one, other, rtol=1e-5, atol=1e-4)
    assert not [node for node in rewritten.graph.nodes if node.target is OPERATOR]


def test_a_bias_that_is_added_to_a_product_alone_is_its_own():
    def added(left, right, bias, other):
        alone, again, twice = (torch.bmm(left, each) for each in (right, right.flip(0), 2 * right))
        of_each_row = torch.bmm(left, right.sin()) + other
        return alone + bias, again + bias, again, of_each_row, twice + 2 * bias + bias

    arguments = (
        torch.randn(3, 900, 20),
        torch.randn(3, 20, 64),
        torch.randn(64),
        torch.randn(3, 1, 64),
    )
    graph = traced_products(make_fx(added)(*arguments))
    if has_compiler():
        called = [node for node in graph.graph.nodes if node.target is OPERATOR]
        assert sorted(len(node.args) for node in called) == [2, 2, 3, 3]
    for one, other in zip(graph(*arguments), added(*arguments), strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-4)


def test_small_traced_products_stay_torchs():
    graph = make_fx(layers)(torch.randn(3, 1300), torch.randn(3, 20, 64))
    assert not [node for node in traced_products(graph).graph.nodes if node.target is OPERATOR]


def test_without_a_compiler_traced_products_are_torchs(monkeypatch):
    monkeypatch.setattr(products, "_kernel", lambda: None)
    arguments = torch.randn(3, 1300), torch.randn(3, 900, 64)
    graph = traced_products(make_fx(layers)(*arguments))
    assert not [node for node in graph.graph.nodes if node.target is OPERATOR]
    left, right, bias = torch.randn(2, 3, 4), torch.randn(2, 4, 5), torch.randn(5)
    assert torch.equal(OPERATOR(left, right), torch.bmm(left, right))
    assert torch.equal(OPERATOR(left, right, bias), torch.baddbmm(bias, left, right))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_matrices_that_do_not_fit_are_refused_as_torch_does(dtype):
    left, right = torch.randn(2, 3, 4, dtype=dtype), torch.randn(2, 5, 8, dtype=dtype)
    with pytest.raises(RuntimeError):
        OPERATOR(left, right)
    with pytest.raises(RuntimeError):
        OPERATOR(left, right[:1, :4])
    with pytest.raises(RuntimeError):
        OPERATOR(left, right[:, :4], torch.zeros(7, dtype=dtype))
