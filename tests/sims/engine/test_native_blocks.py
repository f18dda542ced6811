"""Blocks carried out without the interpreter, against the interpreter; in order, and ended whatever happens."""

import ctypes
import threading
import time
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import sims.engine.native_blocks as native_blocks
from gossipfl.caches import code_directory, is_ours
from gossipfl.kernels import building
from gossipfl.kernels.building import has_compiler
from sims.engine import Engine
from sims.engine.blocks import Blocks, wave_width
from sims.engine.gil_free import pointers_of, tensors_of
from sims.engine.groups import Group
from sims.engine.native_blocks import NativeBlocks
from sims.engine.native_library import library
from sims.engine.table import Table
from sims.engine.workers import Paces, Workers
from tests.sims.engine.test_engine import SETTINGS as OF_ENGINE
from tests.sims.engine.test_engine import both, relative

pytestmark = pytest.mark.skipif(not has_compiler(), reason="there is no C++ compiler")

SETTINGS = OF_ENGINE | {
    "a codec": ["algorithm.codec=int8", "network.delay.seconds=0.3"],
    "AD-PSGD": ["algorithm.name=ad_psgd", "network.delay.seconds=0.3", "training.momentum=0.5"],
}
RUN = ctypes.CFUNCTYPE(
    ctypes.c_int32,
    *(ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p), ctypes.c_size_t),
    *(ctypes.POINTER(ctypes.c_void_p), ctypes.c_size_t, ctypes.c_void_p, ctypes.c_void_p),
)


class Unlocked:
    """A Python function called as a compiled programme is."""

    container = 0

    def __init__(self, function):
        def run(_container, inputs, count, outputs, _outputs, _stream, _executor):
            try:
                results = function(*tensors_of(inputs[:count]))
            except ArithmeticError:
                return 1
            for k, handle in enumerate(pointers_of([result.contiguous() for result in results])):
                outputs[k] = handle
            return 0

        self._kept = RUN(run)
        self.run = ctypes.cast(self._kept, ctypes.c_void_p).value


def test_a_library_that_others_could_have_written_is_not_loaded(tmp_path, monkeypatch):
    """It is code: what others may write is compiled again, and so is what links point to."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "others").write_text("no library")
    with patch.object(building, "_compile", side_effect=OSError("compiled")) as compiled:
        assert library.__wrapped__() is None
        place, *_ = compiled.call_args.args
        assert place.parent == code_directory("compiled")
        place.symlink_to(tmp_path / "others")
        assert library.__wrapped__() is None
        place.unlink()
        place.write_bytes(b"no library")
        place.chmod(0o666)
        assert library.__wrapped__() is None
        assert compiled.call_count == 3
    assert library.__wrapped__() is not None
    assert is_ours(place)


@pytest.fixture
def natively(monkeypatch):
    """Have every engine carry out its blocks without the interpreter, as far as traced functions can be."""
    prepare, blocks = Engine._prepare, []

    def prepared(engine, group, numbers):
        prepare(engine, group, numbers)
        programme = engine._programmes[group]
        if not programme.unlocked:
            programme.unlocked = [Unlocked(run) for run in programme._runs]

    call = NativeBlocks.__call__

    def counted(self, given, *arguments, **options):
        blocks.append(len(given.group))
        call(self, given, *arguments, **options)

    def choose():
        monkeypatch.setattr(Engine, "_prepare", prepared)
        monkeypatch.setattr(NativeBlocks, "__call__", counted)
        return blocks

    return choose


@pytest.mark.parametrize(
    ("name", "threads", "block"),
    [
        ("plain weights", 2, 4),
        ("plain weights", 3, 1),
        ("partitions with tokens", 1, 4),
        ("AD-PSGD with slow training", 2, 2),
        ("averaging alone", 2, 4),
        ("a codec", 2, 4),
    ],
)
def test_rows_are_the_interpreters(name, threads, block, natively):
    _, expected, _ = both(*SETTINGS[name], threads=1, block=block)
    blocks = natively()
    _, came, _ = both(*SETTINGS[name], threads=threads, block=block)
    assert sum(blocks) > 15
    assert torch.equal(expected, came)


def of_waves(sizes, function, threads):
    """Blocks of one row in waves of some sizes, and what carries them out."""
    count = sum(sizes)
    columns = np.zeros((count, 6, 1), dtype=np.int64)
    columns[:, 0, 0] = np.arange(count)
    columns[:, 3] = count
    blocks = Blocks(columns=columns, group=[0] * count, wave_ends=np.cumsum(sizes).tolist())
    table = Table(
        rows=torch.zeros(count + 1, 3),
        ages=torch.zeros(count + 1, dtype=torch.int64),
        kept=torch.zeros(count + 1, 2),
        steps=np.zeros(count, dtype=np.int64),
        versions=np.zeros(count + 1, dtype=np.int64),
    )
    trainer = SimpleNamespace(
        data=SimpleNamespace(**dict.fromkeys(("offsets", "indices", "numbers"), np.zeros(0, dtype=np.int64))),
        settings=SimpleNamespace(seed=1, local_steps=1),
    )
    buffer = SimpleNamespace(
        gathered=(torch.zeros(1, 1, 1),), bytes=(), pool=SimpleNamespace(bytes=()), weights=None
    )
    native = NativeBlocks(trainer, [Group(0, 1, trains=False, share=1.0)], [[buffer]] * threads)

    def run(rows, ages, kept, counters, columns, _leaf):
        node = int(columns[0, 0])
        function(node)
        return torch.full((1, 3), node + 1.0), torch.full((1,), node + 2), torch.full((1, 2), node + 3.0)

    programmes = {0: [Unlocked(run) for _ in range(threads)]}
    return lambda workers, **options: native(blocks, table, programmes, workers, **options), table


@given(
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=12),
    threads=st.integers(1, 4),
    seed=st.integers(0, 99),
)
@settings(max_examples=25, deadline=None)
def test_a_block_begins_when_those_of_earlier_waves_are_done(sizes, threads, seed):
    wave, pauses = np.repeat(np.arange(len(sizes)), sizes), np.random.default_rng(seed)
    begun, ended, early = [], set(), []

    def takes_its_time(node):
        begun.append(node)
        early.extend(other for other in range(len(wave)) if wave[other] < wave[node] and other not in ended)
        time.sleep(1e-4 * pauses.integers(3))
        ended.add(node)

    run, table = of_waves(sizes, takes_its_time, threads)
    workers = Workers(threads, always=True)
    run(workers)
    workers.close()
    assert not early
    assert sorted(begun) == list(range(len(wave)))
    nodes = torch.arange(len(wave))
    assert table.rows[:-1, 2].tolist() == (nodes + 1).tolist()
    assert table.ages[:-1].tolist() == (nodes + 2).tolist()
    assert table.kept[:-1, 1].tolist() == (nodes + 3).tolist()
    assert not table.rows[-1].any()


def test_several_threads_work_at_once():
    both_there = threading.Barrier(2, timeout=60)
    run, _ = of_waves([2, 2, 2], lambda _node: both_there.wait(), 2)
    workers = Workers(2, always=True)
    run(workers)
    workers.close()


@pytest.mark.parametrize("threads", [1, 3])
def test_a_block_that_fails_ends_all_threads(threads):
    seen = []

    def fails(node):
        seen.append(node)
        if node == 30:
            time.sleep(0.05)  # others wait for it
            raise ArithmeticError

    run, _ = of_waves([3] * 40, fails, threads)
    workers = Workers(threads, always=True)
    with pytest.raises(RuntimeError, match="failed"):
        run(workers)
    assert 30 <= max(seen) < 33  # nothing of a later wave
    workers.close()


def test_an_interrupt_ends_all_threads_before_it_is_seen(monkeypatch):
    monkeypatch.setattr(native_blocks, "_SLICE", 1e-6)
    seen = []

    def slowly(node):
        time.sleep(0.001)
        seen.append(node)

    def interrupted(share):
        if share > 0.1:
            raise KeyboardInterrupt

    run, _ = of_waves([3] * 60, slowly, 2)
    workers = Workers(2, always=True)
    with pytest.raises(KeyboardInterrupt):
        run(workers, during=interrupted)
    done = len(seen)
    assert 10 < done < 180
    workers.close()
    assert len(seen) == done


def test_without_a_compiler_the_interpreter_takes_the_blocks(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    assert not has_compiler()
    assert library.__wrapped__() is None


def test_ways_that_met_a_busy_moment_are_tried_again():
    paces, ways = Paces(), []
    for call in range(100):
        way = paces.choose(("alone", "shared"))
        ways.append(way)
        paces.learn(way, {"alone": 2.0, "shared": 9.0 if call < 5 else 1.0}[way])
    assert ways[:2] == ["alone", "shared"]
    assert ways[-1] == "shared"
    assert 80 < ways.count("shared") < 100


def test_a_moment_in_which_another_way_was_faster_is_soon_forgotten():
    paces, ways = Paces(), []
    for call in range(200):
        ways.append(paces.choose(("alone", "shared")))
        busy = 100 <= call < 104
        paces.learn(ways[-1], {"alone": 2.0, "shared": 9.0 if busy else 1.0}[ways[-1]])
    assert ways[:100].count("shared") > 90
    assert "alone" in ways[100:104]
    assert ways[104:].count("alone") < 8


@pytest.mark.parametrize("is_aside", [False, True])
def test_what_threads_bring_is_not_measured_while_one_is_aside(is_aside, monkeypatch):
    """It would seem that they bring nothing; and who may draw the next window must have been measured."""
    learned, given = [], threading.Event()
    monkeypatch.setattr(Workers, "learn", lambda workers, kind, **options: learned.append(options))

    def last(node):
        if node == 19:
            given.set()

    run, _ = of_waves([1] * 20, last, 2)
    workers = Workers(2, always=True)
    if is_aside:
        workers.aside(lambda: given.wait(60))
    run(workers)
    assert bool(learned) is not is_aside
    workers.close()


def test_who_has_no_core_to_itself_is_left_alone():
    workers = Workers(2)
    for awake, expected in ((1.0, True), (0.4, False), (1.0, True)):
        ways = []
        for _ in range(100):
            ways.append(workers.splits("kind"))
            workers.learn("kind", split=ways[-1], pace=1.0 if ways[-1] else 2.0, awake=awake)
        assert ways[-1] is expected
    workers.close()


def test_waves_are_as_wide_as_threads_can_share():
    assert wave_width(nodes=1000, block=64) == 192
    assert wave_width(nodes=1000, block=64, threads=2) == 256
    assert wave_width(nodes=100, block=16, threads=2) == 32
    for nodes in (2, 24, 100, 1000, 10**6):
        for threads in (2, 3, 8):
            width = wave_width(nodes=nodes, block=8, threads=threads)
            assert width % (8 * threads) == 0
            assert width <= max(8 * threads, 0.3 * nodes)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["plain weights", "AD-PSGD"])
def test_compiled_rows_are_the_same_on_any_number_of_threads(name, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    given = ["precision=float32", *SETTINGS[name]]
    options = {"compile_when": "always", "block": 4}
    with monkeypatch.context() as without:
        without.setattr(Engine, "_is_native", lambda engine: False)
        reference, expected, _ = both(*given, **options)
    assert relative(reference, expected) < 1e-4
    call, ran = NativeBlocks.__call__, []

    def counted(*arguments, **options):
        ran.append(1)
        call(*arguments, **options)

    monkeypatch.setattr(NativeBlocks, "__call__", counted)
    for threads in (1, 2, 3):
        assert torch.equal(expected, both(*given, threads=threads, **options)[1])
    assert ran
