"""Programmes: traced or compiled ones are used only where they give what their function gives."""

import os
import random

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from sims.engine.programme import Programme
from sims.engine.trials import Departed, Trials


def programme(function, *example, **options):
    options = {"growing": (), "calls": 10, "compile_when": "never", "threads": 1, "name": "a test", **options}
    return Programme(function, example, **options)


def sample(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def scaled_by_what_it_saw(x):
    return (x * torch.tensor(x.detach().abs().max().item()),)


def scaled_a_little_by_what_it_saw(x):
    """A value that hardly differs where rows hardly do."""
    return (x * (1 + 1e-2 * float(x.detach().numpy().mean())),)


def drawn(x):
    return (x + torch.rand(3, generator=torch.Generator().manual_seed(int(x.sum().abs() * 1e6))),)


def drawn_by_python(x):
    return (x * random.random(),)


@pytest.mark.parametrize(
    "function", [drawn_by_python, scaled_by_what_it_saw, scaled_a_little_by_what_it_saw, drawn]
)
def test_what_a_trace_would_take_for_a_constant_runs_eagerly(function, caplog):
    made = programme(function, sample(4, 3))
    assert made.tier == "eager"
    assert "runs eagerly" in caplog.text
    if function is not drawn_by_python:
        other = sample(4, 3, seed=9)
        assert torch.equal(made(0, other)[0], function(other)[0])


@pytest.mark.parametrize("scale", [scaled_by_what_it_saw, scaled_a_little_by_what_it_saw])
def test_so_it_does_where_it_reads_a_few_rows_of_a_table_that_grows(scale):
    table, places = sample(50, 3), torch.tensor([[7, 3], [40, 7]])
    before = table.clone()
    made = programme(lambda rows, k: scale(rows[k.reshape(-1)]), table, places, growing=(0,))
    assert made.tier == "eager"
    assert torch.equal(table, before)


def test_a_plain_function_is_traced_and_equal():
    def function(x, y):
        return (torch.tanh(x @ y), x.sum(dim=1))

    made = programme(function, sample(5, 4), sample(4, 3))
    assert made.tier == "traced"
    x, y = sample(5, 4, seed=1), sample(4, 3, seed=2)
    for one, other in zip(made(0, x, y), function(x, y), strict=True):
        torch.testing.assert_close(one, other)


def test_attention_is_traced_although_its_memory_cannot_be_laid_out_otherwise():
    def function(x, w):
        scores = (x @ w) @ x.mT
        return (scores.mean(1),)

    made = programme(torch.func.vmap(function), sample(4, 7, 6, 5), sample(4, 5, 5))
    assert made.tier == "traced"
    x, w = sample(4, 7, 6, 5, seed=1), sample(4, 5, 5, seed=2)
    torch.testing.assert_close(made(0, x, w)[0], torch.func.vmap(function)(x, w)[0])


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: (x * 1.001,),
        lambda x: (x, x),
        lambda x: (x.double(),),
        lambda x: (x[:-1],),
        lambda x: (torch.where(x == x.max(), torch.nan, x),),
    ],
)
def test_a_programme_that_departs_is_named(wrong):
    trials = Trials(lambda x: (x.clone(),), (sample(6, 2),))
    with pytest.raises(Departed, match="function"):
        trials.require(wrong)


def test_rounding_and_what_is_not_a_number_alike_pass():
    trials = Trials(lambda x: (torch.where(x > 2, torch.nan, x),), (sample(100, 2) * 2,))
    trials.require(lambda x: (torch.where(x > 2, torch.nan, x * (1 + 1e-7)),))


def stepped(rows, slopes):
    """The first step of AdamW, along slopes that rounding alone makes other than zero in the last column."""
    slope = torch.cat([rows * slopes, (rows * slopes).sum(1, keepdim=True) - (rows @ slopes)[:, None]], dim=1)
    return (0.01 * slope / (slope.abs() + 1e-8),)


def stepped_in_another_order(rows, slopes):
    slope = torch.cat(
        [rows * slopes, (rows * slopes).flip(1).sum(1, keepdim=True) - (rows @ slopes)[:, None]], 1
    )
    return (0.01 * slope / (slope.abs() + 1e-8),)


def beside(column, wrong):
    def function(rows, slopes):
        (found,) = stepped_in_another_order(rows, slopes)
        found[:, column] = wrong(found[:, column])
        return (found,)

    return function


ROWS = 0.1 * sample(64, 500), sample(500, seed=1)


def test_a_number_without_a_certain_digit_may_be_any_that_its_function_gives():
    expected, got = stepped(*ROWS)[0], stepped_in_another_order(*ROWS)[0]
    assert (expected - got).abs().max() > 10 * 1e-4 * expected.abs().max()
    Trials(stepped, ROWS).require(stepped_in_another_order)


@pytest.mark.parametrize(
    ("column", "wrong"),
    [
        (0, torch.neg),
        (0, lambda numbers: numbers * 1.0005),
        (499, torch.zeros_like),
        (-1, lambda numbers: numbers + 1),
        (-1, lambda numbers: numbers * torch.nan),
    ],
)
def test_all_others_and_what_it_never_gives_may_not(column, wrong):
    with pytest.raises(Departed, match="differs from its function's"):
        Trials(stepped, ROWS).require(beside(column, wrong))


def flipped(total, *, wrong=lambda steps: steps):
    """The first step of AdamW along sums, of a hundredth of which little more than rounding is left."""
    base, factors = 0.5 + 0.1 * sample(1, 4000), sample(4000, 200, seed=1)
    left = torch.where(torch.arange(4000) % 100 == 0, 1e-6 * 3 ** sample(4000, seed=2), 1.0)
    known = ((base[..., None] * factors).double().sum(-1) - left).float()

    def function(rows, _):
        slopes = total(rows[..., None] * factors) - known
        return (wrong(0.01 * slopes / (slopes.abs() + 1e-8)),)

    return function, (base.expand(2, -1).contiguous(), torch.zeros(1))


def test_steps_that_rounding_turns_round_may_be_others_than_in_a_function():
    (function, example), (other, _) = flipped(lambda t: t.sum(-1)), flipped(lambda t: t.cumsum(-1)[..., -1])
    assert (function(*example)[0] * other(*example)[0] < 0).any()
    Trials(function, example).require(other)


def test_a_step_that_rounding_does_not_turn_round_may_not():
    def turned(steps):
        return torch.where(torch.arange(4000) == 1, -steps, steps)

    (function, example), (other, _) = (
        flipped(lambda t: t.sum(-1)),
        flipped(lambda t: t.cumsum(-1)[..., -1], wrong=turned),
    )
    with pytest.raises(Departed, match="2 beyond both"):
        Trials(function, example).require(other)


def test_packages_differ_with_every_number_of_a_constant():
    def package(constant):
        graph = make_fx(lambda x: (x + constant,))(sample(2000))
        return programme(lambda x: (x,), sample(3))._package_file(graph, (sample(2000),), ())

    table = torch.zeros(2000)
    other = table.clone()
    other[1000] = 1
    assert package(table) == package(table.clone())
    assert package(table) != package(other)


@pytest.mark.parametrize("operations", [5, 700])
def test_what_takes_long_to_compile_is_announced(operations, caplog, monkeypatch):
    """A keyboard's training step has thousands of operations: minutes, in which nothing else is heard."""

    def repeated(x):
        for _ in range(operations):
            x = x + 1
        return (x,)

    def fail(*_, **__):
        raise RuntimeError("no compiler today")

    monkeypatch.setattr(torch.export, "export", fail)
    made = programme(repeated, sample(3, 7), compile_when="always")
    assert made.tier == "traced"
    assert "could not be compiled and runs traced" in caplog.text
    assert ("compiling a test, once" in caplog.text) is (operations > 600)


@pytest.mark.parametrize("planted", ["open to others", "a link", "another's"])
def test_a_package_that_others_could_have_written_is_compiled_again(planted, monkeypatch, tmp_path):
    """A package is a shared object: to load it is to run it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    loaded, made = [], []

    def make(self, graph, arguments, growing, package):
        made.append(package)
        package.unlink(missing_ok=True)
        package.write_bytes(b"ours")
        package.chmod(0o600)

    def load(package):
        loaded.append(package.read_bytes())
        return lambda x: [x + 1]

    monkeypatch.setattr(Programme, "_make_package", make)
    monkeypatch.setattr("sims.engine.programme._loaded", load)

    def again():
        return programme(lambda x: [x + 1], sample(3), compile_when="always").tier

    assert (again(), again()) == ("compiled", "compiled")
    (package,) = made
    package.write_bytes(b"theirs")
    if planted == "open to others":
        package.chmod(0o662)
    elif planted == "a link":
        package.rename(tmp_path / "elsewhere")
        package.symlink_to(tmp_path / "elsewhere")
    elif os.geteuid() == 0:
        os.chown(package, 12345, 12345)
    else:
        pytest.skip("only root gives files away")
    assert again() == "compiled"
    assert loaded == [b"ours"] * 3
    assert made == [package] * 2


def convolved(x, weights):
    return [torch.func.vmap(torch.nn.functional.conv1d)(x, weights)]


def slope_of_convolved(x, weights):
    """The gradient alone, which is another operator."""
    slope = torch.nn.grad.conv1d_weight(x[0], weights[0].shape, x[0, :, :, 1:])
    return [weights[0] - slope]


def multiplied(x, weights):
    return [torch.tanh(x.flatten(2) @ weights.flatten(2).mT.repeat(1, 4, 1))]


@pytest.mark.parametrize(
    ("function", "compile_when", "tier"),
    [
        (convolved, "auto", "traced"),
        (slope_of_convolved, "auto", "traced"),
        (convolved, "always", "compiled"),
        (slope_of_convolved, "always", "compiled"),
        (multiplied, "auto", "compiled"),
    ],
)
def test_convolutions_are_compiled_only_where_that_is_asked_for(
    function, compile_when, tier, monkeypatch, tmp_path
):
    """However long the run is, and whatever an earlier one compiled: torch's own convolutions are faster."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("sims.engine.programme.has_compiler", lambda: True)
    monkeypatch.setattr("sims.engine.programme._loaded", lambda _: function)

    def make(self, graph, arguments, growing, package):
        package.write_bytes(b"ours")
        package.chmod(0o600)

    monkeypatch.setattr(Programme, "_make_package", make)
    example = sample(3, 2, 4, 8), sample(3, 4, 4, 2)
    for _ in range(2):
        assert programme(function, *example, calls=1e12, compile_when=compile_when).tier == tier


def test_where_our_products_cannot_be_compiled_torchs_are(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    asked = []

    def fail_at_first(exported, *, package_path, inductor_configs):
        called = {str(node.target) for node in exported.graph.nodes}
        asked.append(
            ("gossipfl.product.default" in called, "aten.bmm.default" in called, len(inductor_configs))
        )
        raise RuntimeError("no vectors here")

    monkeypatch.setattr(torch._inductor, "aoti_compile_and_package", fail_at_first)
    left, right = sample(3, 4, 8), sample(3, 8, 16)
    made = programme(lambda a, b: (torch.bmm(a, b),), left, right, compile_when="always")
    assert made.tier == "traced"
    assert torch.equal(made(0, left, right)[0], left @ right)
    assert asked == [(True, False, 2), (False, True, 1)]
