"""Layouts of all kinds of modules, and the ways between modules, tensors and rows."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from gossipfl.errors import IncompatibleModel, InvalidTask
from gossipfl.layout import Layout, SharePolicy, layout_of
from gossipfl.rows import from_tensors, load_row, to_row, to_tensors

DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64]


class Tied(nn.Module):
    """An embedding whose weight is also the decoder's."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 3)
        self.decoder = nn.Linear(3, 5)
        self.decoder.weight = self.embedding.weight


class AllSorts(nn.Module):
    """Mixed dtypes, an empty parameter, a frozen one, persistent and other buffers."""

    def __init__(self) -> None:
        super().__init__()
        for dtype in DTYPES:
            self.register_parameter(f"as_{str(dtype)[6:]}", nn.Parameter(torch.randn(2, 3).to(dtype)))
        self.empty = nn.Parameter(torch.empty(0, 4))
        self.scalar = nn.Parameter(torch.tensor(0.5))
        self.frozen = nn.Parameter(torch.randn(4), requires_grad=False)
        self.register_buffer("counter", torch.tensor(12345, dtype=torch.int64))
        self.register_buffer("mask", torch.tensor([True, False]))
        self.register_buffer("constant", torch.arange(3.0), persistent=False)


def state_of(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def scrambled(module: nn.Module) -> nn.Module:
    other = copy.deepcopy(module)
    with torch.no_grad():
        for tensor in [*other.parameters(), *other.buffers()]:
            tensor.copy_(torch.ones_like(tensor) if tensor.dtype == torch.bool else tensor * 0 + 7)
    return other


def assert_round_trip(module: nn.Module, layout: Layout) -> None:
    row = to_row(module, layout)
    assert row.shape == (layout.size,)
    assert row.dtype == torch.float32
    other = scrambled(module)
    load_row(other, layout, row)
    persistent = state_of(module)
    trained = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
    for name, tensor in state_of(other).items():
        assert tensor.dtype == persistent[name].dtype
        if tensor.dtype == torch.float64 and name in trained:
            torch.testing.assert_close(tensor, persistent[name], rtol=1e-6, atol=1e-7)
        else:
            assert torch.equal(tensor, persistent[name]), name
    assert torch.equal(to_row(other, layout), row)


@st.composite
def modules(draw: st.DrawFn) -> nn.Module:
    """Random modules: nested, tied, frozen, with buffers and empty parameters, of several dtypes."""
    root = nn.Module()
    parameters: list[nn.Parameter] = [nn.Parameter(torch.randn(2))]
    root.register_parameter("anchor", parameters[0])
    for number in range(draw(st.integers(0, 5))):
        child = nn.Module()
        for name in draw(st.sets(st.sampled_from(["weight", "bias", "gain"]), max_size=3)):
            if draw(st.integers(0, 4)) == 0:
                parameter = draw(st.sampled_from(parameters))
            else:
                shape = draw(st.lists(st.integers(0, 3), max_size=3))
                parameter = nn.Parameter(
                    torch.randn(shape).to(draw(st.sampled_from(DTYPES))), requires_grad=draw(st.booleans())
                )
                parameters.append(parameter)
            child.register_parameter(name, parameter)
        if draw(st.booleans()):
            buffer = torch.randint(0, 2**20, draw(st.sampled_from([(), (3,), (0,)])))
            dtype = draw(st.sampled_from([torch.int64, torch.float32, torch.bool]))
            child.register_buffer("state", buffer.to(dtype), persistent=draw(st.booleans()))
        root.add_module(f"child{number}", child)
    return root


@settings(deadline=None, max_examples=60)
@given(modules())
def test_any_module_survives_the_way_to_a_row_and_back(module: nn.Module) -> None:
    layout = layout_of(module)
    assert_round_trip(module, layout)
    distinct = {id(p): p for p in module.parameters()}.values()
    trainable = sum(p.numel() for p in distinct if p.requires_grad)
    assert layout.shared_size == layout.trainable_size == trainable
    persistent = {id(t): t for t in module.state_dict(keep_vars=True).values()}.values()
    places = {torch.int64: 3, torch.float64: 3}
    assert layout.size == sum(
        tensor.numel() * (1 if tensor.requires_grad else places.get(tensor.dtype, 1)) for tensor in persistent
    )


@settings(deadline=None, max_examples=60)
@given(modules())
def test_entries_fill_the_row_without_gap_or_overlap_in_the_order_of_the_groups(module: nn.Module) -> None:
    layout = layout_of(module, SharePolicy(local=("anchor",)) if has_more_than_the_anchor(module) else None)
    ends = [entry.offset + entry.size for entry in layout.entries]
    assert [entry.offset for entry in layout.entries] == [0, *ends[:-1]]
    assert ends[-1] == layout.size
    order = [("shared", "local", "untrained").index(entry.group) for entry in layout.entries]
    assert order == sorted(order)


def has_more_than_the_anchor(module: nn.Module) -> bool:
    anchor = module.get_parameter("anchor")
    return any(p.numel() and p.requires_grad and p is not anchor for p in module.parameters())


def test_a_tied_parameter_is_counted_once_and_stays_tied() -> None:
    module = Tied()
    layout = layout_of(module)
    assert [entry.name for entry in layout.entries] == ["embedding.weight", "decoder.bias"]
    assert_round_trip(module, layout)
    load_row(module, layout, torch.arange(20.0))
    assert module.decoder.weight is module.embedding.weight
    assert torch.equal(module.decoder.weight, torch.arange(15.0).reshape(5, 3))


def test_a_tied_parameter_stays_local_under_whichever_name_it_is_kept() -> None:
    with pytest.raises(InvalidTask, match="shares nothing"):
        layout_of(Tied(), SharePolicy(local=("decoder.*",)))
    layout = layout_of(Tied(), SharePolicy(local=("decoder.weight",)))
    assert [(entry.name, entry.group) for entry in layout.entries] == [
        ("decoder.bias", "shared"),
        ("embedding.weight", "local"),
    ]


def test_every_kind_of_tensor_has_its_place() -> None:
    module = AllSorts()
    layout = layout_of(module)
    groups = {entry.name: entry.group for entry in layout.entries}
    assert "constant" not in groups
    assert {name for name, group in groups.items() if group == "untrained"} == {"frozen", "counter", "mask"}
    assert_round_trip(module, layout)
    assert to_tensors(to_row(module, layout), layout)["counter"].item() == 12345


def test_batch_norm_statistics_stay_local() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    layout = layout_of(module)
    assert layout.shared_size == 3 * 4 + 4 + 4 + 4
    assert layout.size - layout.trainable_size == 4 + 4 + 3
    assert_round_trip(module, layout)


@settings(deadline=None)
@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5), st.lists(st.floats(width=64), max_size=5))
def test_untrained_numbers_of_64_bits_are_kept_exactly(counts: list[int], statistics: list[float]) -> None:
    module = nn.Linear(1, 1)
    module.register_buffer("counts", torch.tensor([16_777_217, *counts]))
    module.register_buffer("narrow", torch.tensor([2**31 - 1, -(2**31)], dtype=torch.int32))
    module.register_buffer("statistics", torch.tensor([0.1, *statistics], dtype=torch.float64))
    module.frozen = nn.Parameter(torch.tensor([1 / 3], dtype=torch.float64), requires_grad=False)
    layout = layout_of(module)
    row, other = to_row(module, layout), scrambled(module)
    load_row(other, layout, row)
    for name, tensor in state_of(module).items():
        bits = tensor.view(torch.int64) if tensor.dtype == torch.float64 else tensor
        got = state_of(other)[name]
        assert torch.equal(got.view(torch.int64) if tensor.dtype == torch.float64 else got, bits), name
    tensors = to_tensors(row.expand(2, 3, -1), layout)
    assert tensors["counts"].shape == (2, 3, 1 + len(counts))
    assert torch.equal(tensors["counts"][1, 2], module.counts)


def test_a_personal_head_is_trained_and_not_shared() -> None:
    module = nn.ModuleDict({"head": nn.Linear(4, 2), "body": nn.Linear(3, 4)})
    layout = layout_of(module, SharePolicy(local=("head.*",)))
    assert layout.shared_size == 16
    assert layout.trainable_size == layout.size == 26
    assert torch.equal(to_row(module, layout)[:12], module["body"].weight.detach().flatten())
    assert_round_trip(module, layout)


@pytest.mark.parametrize(
    ("module", "share", "message"),
    [
        (nn.Linear(2, 2), SharePolicy(local=("haed.*",)), r"'haed\.\*' local.*one of weight, bias"),
        (nn.Linear(2, 2), SharePolicy(local=("*",)), "shares nothing.*2 parameters"),
        (nn.Linear(2, 2).requires_grad_(False), None, "shares nothing"),
        (nn.ReLU(), None, "shares nothing.*0 parameters"),
        (nn.Linear(0, 0), None, "shares nothing"),
        (nn.Linear(2, 2, dtype=torch.complex64), None, "weight is complex.*view_as_real"),
        (nn.LazyLinear(2), None, "weight has no shape yet.*lazy"),
    ],
)
def test_a_module_that_cannot_be_laid_out_is_refused(
    module: nn.Module, share: SharePolicy | None, message: str
) -> None:
    with pytest.raises(InvalidTask, match=message):
        layout_of(module, share)


@pytest.mark.parametrize("local", ["head.*", ["head.*"], None])
def test_a_share_policy_takes_a_tuple(local: object) -> None:
    with pytest.raises(InvalidTask, match="takes a tuple"):
        SharePolicy(local=local)  # type: ignore[arg-type]


def body_and_head(
    *, width: int = 4, head: int = 2, dtype: torch.dtype = torch.float32, body: str = "body"
) -> nn.Module:
    return nn.ModuleDict({body: nn.Linear(3, width, dtype=dtype), "head": nn.Linear(4, head)})


def test_digests_are_equal_exactly_where_the_shared_parts_are() -> None:
    personal = SharePolicy(local=("head.*",))
    digest = layout_of(body_and_head(), personal).digest
    assert len(digest) == 32
    assert layout_of(body_and_head(head=7), personal).digest == digest
    statistics = nn.ModuleDict({"body": nn.Linear(3, 4), "norm": nn.BatchNorm1d(4, affine=False)})
    assert layout_of(statistics).digest == digest

    others = [
        layout_of(body_and_head()),
        layout_of(body_and_head(width=5), personal),
        layout_of(body_and_head(dtype=torch.bfloat16), personal),
        layout_of(body_and_head(body="trunk"), personal),
        layout_of(body_and_head(), SharePolicy(local=("head.*", "body.bias"))),
        layout_of(nn.ModuleDict({"body": nn.Linear(4, 3)})),
    ]
    assert len({layout.digest for layout in others} | {digest}) == 1 + len(others)


@settings(deadline=None, max_examples=60)
@given(modules(), modules())
def test_equal_digests_mean_equal_shared_entries(first: nn.Module, second: nn.Module) -> None:
    one, other = layout_of(first), layout_of(second)
    shared = [[entry for entry in layout.entries if entry.group == "shared"] for layout in (one, other)]
    assert (one.digest == other.digest) == (shared[0] == shared[1])


@settings(deadline=None, max_examples=60)
@given(modules(), st.sampled_from([(), (1,), (3,), (2, 2)]))
def test_tensors_of_many_rows_pack_into_the_same_rows(module: nn.Module, leading: tuple[int, ...]) -> None:
    layout = layout_of(module)
    row = to_row(module, layout)
    rows = row.expand(*leading, -1)
    tensors = to_tensors(rows, layout)
    for entry in layout.entries:
        assert tensors[entry.name].shape == (*leading, *entry.shape)
        assert tensors[entry.name].dtype == entry.torch_dtype
    assert torch.equal(from_tensors(tensors, layout), rows)


def test_float32_tensors_are_views_of_their_rows() -> None:
    layout = layout_of(nn.Linear(2, 2))
    rows = torch.zeros(3, layout.size)
    to_tensors(rows, layout)["bias"][1] = 5
    assert rows[1].tolist() == [0, 0, 0, 0, 5, 5]


def test_a_row_is_a_copy_of_its_module() -> None:
    module = nn.Linear(2, 2)
    layout = layout_of(module)
    row = to_row(module, layout)
    before = state_of(module)
    row.zero_()
    assert torch.equal(module.weight, before["weight"])
    load_row(module, layout, row)
    row.fill_(3)
    assert not module.weight.any()


@pytest.mark.parametrize(
    "act",
    [
        lambda layout: load_row(nn.Linear(3, 2), layout, torch.zeros(layout.size + 1)),
        lambda layout: load_row(nn.Linear(3, 2), layout, torch.zeros(1, layout.size)),
        lambda layout: load_row(nn.Linear(2, 3), layout, torch.zeros(layout.size)),
        lambda layout: load_row(nn.ReLU(), layout, torch.zeros(layout.size)),
        lambda layout: to_row(nn.Linear(2, 3), layout),
        lambda layout: to_row(nn.Linear(3, 2, bias=False), layout),
        lambda layout: to_tensors(torch.zeros(2, layout.size + 1), layout),
        lambda layout: from_tensors({"weight": torch.zeros(2, 3)}, layout),
        lambda layout: from_tensors({"weight": torch.zeros(3), "bias": torch.zeros(2)}, layout),
    ],
)
def test_what_does_not_fit_the_layout_is_refused(act: object) -> None:
    with pytest.raises(IncompatibleModel, match=r"expected .*got "):
        act(layout_of(nn.Linear(3, 2)))  # type: ignore[operator]


def test_a_row_that_does_not_fit_leaves_the_module_as_it_was() -> None:
    module = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    other = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 4))
    before = state_of(module)
    layout = layout_of(other)
    with pytest.raises(IncompatibleModel):
        load_row(module, layout, torch.zeros(layout.size))
    assert all(torch.equal(tensor, before[name]) for name, tensor in state_of(module).items())


@pytest.mark.parametrize("dtype", [torch.uint16, torch.uint32, torch.uint64])
def test_unsigned_buffers_are_kept_exactly(dtype):
    module = nn.Linear(2, 1)
    most = torch.iinfo(dtype).max
    numbers = torch.tensor([0, 1, 2**15 + 1, most // 2 + 1, most - 1, most], dtype=dtype)
    module.register_buffer("numbers", numbers.clone())
    layout = layout_of(module)
    row = to_row(module, layout)
    other = nn.Linear(2, 1)
    other.register_buffer("numbers", torch.zeros(6, dtype=dtype))
    load_row(other, layout, row)
    assert other.numbers.tolist() == numbers.tolist()
