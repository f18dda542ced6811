"""Training away from the CPU: on a device that only checks where tensors are, and on a GPU if there is one."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array, random_array

from gossipfl.tasks.samples import flatten
from sims.engine.captured import Captured, pays
from sims.engine.engine import Phases
from sims.engine.local import BlockTraining
from sims.engine.mixing import Mixing
from sims.engine.programme import Programme
from sims.engine.table import Table
from sims.engine.workers import Workers
from sims.running.run import run
from sims.scenario import parse_scenario
from sims.world import build_world
from tests.fake_card import fake_card
from tests.fake_graphs import GRAPHS, fake_graphs

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
TEXT = "\n".join(
    f"The {word} is here, and so are we. Where is the {word}?" for word in ("cat", "dog", "sun") * 9
)


@pytest.fixture(scope="module")
def scenario(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    for user in "abcd":
        (folder / f"{user}.txt").write_text(f"{user}. {TEXT}")
    return parse_scenario(
        f"""
[population]
nodes = 4
[task]
name = "next-word"
partition = "natural"
options = {{ text = "{folder}", size = "tiny", vocabulary = "text", words = 40, length = 4 }}
[topology]
name = "ring"
[algorithm]
name = "d_psgd"
[training]
optimiser = "adamw"
learning_rate = 0.01
clip_norm = 1.0
batch_size = 3
schedule = "cosine"
clock = "step"
decay_age = 4
[evaluate]
every = 4
[stop]
rounds = 4
"""
    )


def test_a_step_of_the_keyboard_leaves_nothing_on_the_cpu(scenario):
    """A tensor elsewhere would be copied at each step, and could not be captured; "meta" refuses to mix them."""
    world = build_world(scenario)
    local = BlockTraining(
        world,
        expected_rounds=1,
        threads=1,
        compile_when="never",
        device=torch.device("cpu"),
        phases=Phases(),
    )
    n, d, at = 4, world.layout.size, torch.device("meta")
    state = (
        torch.empty(n, d, device=at),
        torch.zeros(n, dtype=torch.int64, device=at),
        torch.zeros(n, dtype=torch.int64, device=at),
        torch.empty(n, world.trainer.optimiser_state_size, device=at),
    )
    pool = flatten((world.trainer.data.inputs, world.trainer.data.targets))[0]
    leaves = [torch.zeros(n, 1, 3, *leaf.shape[1:], dtype=leaf.dtype, device=at) for leaf in pool]
    with torch.no_grad():
        after = local._steps_of_block(*state, *leaves)
        (gradients,) = local._gradients_of_block(state[0], *leaves)
    assert [tensor.device for tensor in (*after, gradients)] == [at] * 5
    assert [tensor.shape for tensor in after] == [tensor.shape for tensor in state]


def test_a_function_that_reads_a_large_table_is_not_captured():
    class OnCuda:
        """A tensor as far as anybody asks here."""

        device = torch.device("cuda")

        def __init__(self, numbers):
            self.numel = lambda: numbers

    assert pays([OnCuda(300), OnCuda(50)], [OnCuda(100)])
    assert not pays([OnCuda(3_000), OnCuda(50)], [OnCuda(100)])
    assert not pays([torch.zeros(3)], [torch.zeros(3)])


@needs_cuda
def test_what_is_captured_is_what_its_function_gives():
    def function(x, y):
        return (torch.tanh(x @ y), x.sum(dim=1))

    example = [torch.randn(5, 4, device="cuda"), torch.randn(4, 3, device="cuda")]
    made = Programme(function, example, growing=(), calls=9, compile_when="never", threads=1, name="a test")
    assert made.tier == "captured"
    for _ in range(2):
        others = [torch.randn_like(each) for each in example]
        for found, expected in zip(made(0, *others), function(*others), strict=True):
            torch.testing.assert_close(found, expected)
    wider = torch.randn(7, 4, device="cuda"), example[1]
    torch.testing.assert_close(Captured(function, example)(*wider)[0], function(*wider)[0])


def test_a_captured_programme_is_replayed_on_its_own_memory():
    def function(x, y):
        return (torch.tanh(x @ y), x.add(1).mul_(3).sum(dim=1))

    example = [torch.randn(5, 4), torch.randn(4, 3)]
    with fake_graphs():
        made = Programme(
            function, example, growing=(), calls=9, compile_when="always", threads=1, name="a test"
        )
        assert (made.tier, made.thread_safe) == ("captured", False)
        [graph] = GRAPHS
        before = graph.replays
        first = made(0, *example)
        places = [each.data_ptr() for each in first]
        for _ in range(2):
            others = [torch.randn_like(each) for each in example]
            found = made(0, *others)
            for one, expected in zip(found, function(*others), strict=True):
                assert torch.equal(one, expected)
            assert [each.data_ptr() for each in found] == places
        assert graph.replays == before + 3
        wider = torch.randn(7, 4), example[1]
        assert torch.equal(made(0, *wider)[0], function(*wider)[0])
        assert graph.replays == before + 3


def test_a_function_that_waits_for_a_result_is_not_captured(caplog):
    def function(x):
        return (x * 2,)

    traced_as_usual = Programme._traced

    def waiting(self, *given):
        traced = traced_as_usual(self, *given)

        def called(x):
            return (x * 2 + 0 * float(x.sum()),)

        called.graph = traced.graph
        return called

    with fake_graphs(), pytest.MonkeyPatch.context() as patched:
        patched.setattr(Programme, "_traced", waiting)
        made = Programme(
            function, [torch.ones(3)], growing=(), calls=9, compile_when="never", threads=1, name="a test"
        )
    assert made.tier == "traced"
    assert "a test is not captured and runs traced, more slowly: operation not permitted" in caplog.text
    assert torch.equal(made(0, torch.ones(3))[0], torch.full((3,), 2.0))


@pytest.mark.parametrize("dense", [0, 99], ids=["sparse", "dense"])
def test_weighted_sums_are_a_product_on_a_card(dense, monkeypatch):
    monkeypatch.setattr("sims.engine.mixing._DENSE", dense)
    matrix = csr_array(random_array((9, 9), density=0.4, format="csr", random_state=1))
    rows = torch.randn(9, 5, generator=torch.Generator().manual_seed(1))
    with fake_card():
        mixed = Mixing(matrix, device=torch.device("meta"), workers=Workers(1))
        found = [mixed(each.to("meta")) for each in (rows, rows.double(), rows)]
    for one, dtype in zip(found, (torch.float32, torch.float64, torch.float32), strict=True):
        torch.testing.assert_close(one.held, torch.from_numpy(matrix @ rows.double().numpy()).to(dtype))


@needs_cuda
def test_a_gpu_trains_what_the_cpu_does_and_the_same_each_time(scenario):
    rows = [run(scenario, device=device).rows.cpu() for device in ("cpu", "cuda", "cuda")]
    torch.testing.assert_close(rows[0], rows[1], rtol=1e-3, atol=1e-4)
    assert torch.equal(rows[1], rows[2])


@pytest.mark.parametrize("answers", [False, True])
def test_a_block_has_a_table_of_its_own_with_what_it_reads(answers):
    n, width, size = 6, 3, 4
    generator = torch.Generator().manual_seed(1)
    table = Table(
        rows=torch.randn(n + 3, width, generator=generator),
        ages=torch.arange(n + 3),
        kept=torch.randn(n + 1, 2, generator=generator),
        steps=np.zeros(n, dtype=np.int64),
        versions=np.zeros(n + 3, dtype=np.int64),
    )
    counters, columns = torch.arange(10, 10 + n), torch.zeros(6, size, dtype=torch.int64)
    columns[0], columns[3] = torch.tensor([5, 0, 2, n]), n  # the last is padding
    columns[1], columns[2], columns[4] = (
        torch.tensor([7, 8, 1, n]),
        torch.arange(4),
        torch.tensor([0, 1, 2, 0]),
    )
    columns[5] = torch.tensor([8, 7, 0, n])
    rows, ages, kept, counted, own = table._of_block(counters, columns, answers=answers)
    for line in (0, 1, 5) if answers else (0, 1):
        assert torch.equal(rows[own[line]], table.rows[columns[line]])
        assert torch.equal(ages[own[line]], table.ages[columns[line]])
    assert torch.equal(kept[own[0]], table.kept[columns[0]])
    assert counted[:3].tolist() == [15, 10, 12]
    assert torch.equal(own[[2, 3, 4]], columns[[2, 3, 4]])
