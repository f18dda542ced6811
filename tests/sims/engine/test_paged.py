"""Rows in files: tables like those in memory, to the bit, and named errors where there is no room."""

import errno
import os
import resource
import shutil
import subprocess
import sys
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

import sims
from sims.engine import spaces
from sims.engine.kept_rows import KeptRows
from sims.engine.spaces import InFiles, InMemory
from sims.errors import InvalidScenario, NotEnoughDisk, NotSimulable
from sims.rows.forms import FullForm, RowForm
from sims.running.arrays import mapped_arrays, write_arrays
from sims.running.choice import simulation_of
from tests.sims.worlds import small, world_of

CPU = torch.device("cpu")
QUICK = ("precision=float32", "stop.rounds=6", "evaluate.every=3")


def rows_in(space, first, form, *, places=6):
    return KeptRows.of(first, form, places=places, device=CPU, space=space)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_rows_in_files_are_those_in_memory(data, tmp_path_factory):
    """Whatever is written, copied and added, with first rows alike or not."""
    directory = tmp_path_factory.mktemp("rows")
    form = data.draw(st.sampled_from([FullForm(), RowForm(8), RowForm(16)]))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    first = torch.randn(data.draw(st.sampled_from([1, 6])), 70, generator=generator)
    both = [rows_in(InMemory(CPU), first, form), rows_in(InFiles(directory), first, form)]
    expected = form.read(*form.write(first, None), width=70).expand(6, -1).clone()
    for _ in range(data.draw(st.integers(0, 8))):
        place, other = (data.draw(st.integers(0, len(expected) - 1)) for _ in range(2))
        what = data.draw(st.sampled_from(["write", "copy", "longer"]))
        row, keys = torch.randn(1, 70, generator=generator), torch.tensor([place])
        for rows in both:
            rows.expect(np.array([place, other]))
            if what == "write":
                rows.write(row, keys, np.array([place]), np.array([other]))
            elif what == "copy":
                rows.copy(torch.tensor([place]), torch.tensor([other]))
            else:
                rows.make_room(len(expected) + 3)
        if what == "write":
            expected[place] = expected[other] = form.read(*form.write(row, keys), width=70)[0]
        elif what == "copy":
            expected[other] = expected[place]
        else:
            expected = torch.cat([expected, torch.zeros(3, 70)])
    for rows in both:
        torch.testing.assert_close(rows[:], expected, rtol=0, atol=0)
    again = rows_in(InFiles(directory), first, form)
    again.restore(both[0].state())
    assert torch.equal(again[:], expected)
    assert not list(directory.iterdir())


def test_models_that_were_never_written_take_no_disk(tmp_path):
    space = InFiles(tmp_path)
    rows = rows_in(space, torch.ones(1, 1024), FullForm(), places=100_000)
    rows.write(torch.zeros(2, 1024), None, np.array([5, 90_000]))
    (file, _), *_ = space._files.values()
    assert os.fstat(file.fileno()).st_size == 100_000 * 4096
    assert os.fstat(file.fileno()).st_blocks * 512 < 100_000
    assert rows[4:7].mean(dim=1).tolist() == [1.0, 0.0, 1.0]
    assert rows.index_select(0, torch.tensor([90_000, 89_999])).mean(dim=1).tolist() == [0.0, 1.0]


ALGORITHMS = {
    "gossip_learning": ["training.momentum=0.5"],
    "push_sum": ["network.loss=0.1"],
    "ad_psgd": [],
}
SLEEPING = "churn.process={kind='cycle',offline=0.5}"


def require_equal(tmp_path, *overrides):
    scenario = small(*QUICK, *overrides)
    here = sims.run(scenario, compile_when="never")
    there = sims.run(small(*QUICK, *overrides, f"engine.paged_to={tmp_path}"), compile_when="never")
    assert torch.equal(here.rows, there.rows)
    assert here.summary["result"] == there.summary["result"]
    assert here.evaluations.equals(there.evaluations)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_run_is_the_one_in_memory(name, tmp_path):
    require_equal(tmp_path, f"algorithm={{name='{name}'}}", *ALGORITHMS[name])


@pytest.mark.slow
@settings(max_examples=25, deadline=None, phases=[Phase.generate])
@given(
    name=st.sampled_from(sorted(ALGORITHMS)),
    rows=st.sampled_from(["full", "int8", "int16"]),
    seed=st.integers(0, 99),
    nodes=st.integers(5, 40),
    sleeping=st.booleans(),
)
def test_any_run_is_the_one_in_memory(name, rows, seed, nodes, sleeping, tmp_path_factory):
    more = [SLEEPING] if sleeping else []
    of_run = [f"engine.rows={rows}", f"seed={seed}", f"population.nodes={nodes}", *more, *ALGORITHMS[name]]
    require_equal(tmp_path_factory.mktemp("rows"), f"algorithm={{name='{name}'}}", *of_run)


@pytest.mark.parametrize("rows", ["full", "int8"])
def test_a_resumed_run_goes_on_as_the_whole_one(rows, tmp_path):
    scenario = small(*QUICK, f"engine={{rows='{rows}',paged_to='{tmp_path}'}}", SLEEPING)
    whole = sims.run(scenario, compile_when="never")
    calls = iter(range(10))
    sims.run(scenario, out=tmp_path / "run", compile_when="never", interrupted=lambda: next(calls) == 1)
    resumed = sims.run(None, out=tmp_path / "run", resume=True, compile_when="never")
    assert resumed.summary["result"] == whole.summary["result"]
    assert torch.equal(resumed.rows, whole.rows)


def test_reading_ahead_changes_nothing(tmp_path):
    with (
        patch.object(spaces, "available_memory", return_value=0),
        patch("sims.engine.paged_table.READ_AHEAD", 4),
    ):
        require_equal(tmp_path, "algorithm={name='gossip_learning'}")


def test_where_there_is_no_room_a_run_does_not_begin(tmp_path):
    scenario = small(*QUICK, f"engine.paged_to={tmp_path}")
    with (
        patch("sims.running.memory.space_left", return_value=1000),
        pytest.raises(NotEnoughDisk, match=r"would not fit.*at most 1000 B"),
    ):
        sims.run(scenario, compile_when="never")
    with pytest.raises(NotEnoughDisk, match=r"engine\.paged_to: .* is no directory"):
        sims.run(small(*QUICK, f"engine.paged_to={tmp_path / 'none'}"), compile_when="never")


def test_a_directory_is_the_same_wherever_a_run_is_resumed():
    with pytest.raises(
        InvalidScenario, match=r"engine\.paged_to: expected an absolute path, such as /.*scratch"
    ):
        small(*QUICK, "engine.paged_to=scratch")


def test_a_quota_that_is_used_up_ends_a_run_by_name(tmp_path):
    scenario = small(*QUICK, f"engine.paged_to={tmp_path}")
    with (
        patch.object(spaces.os, "pwrite", side_effect=OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))),
        pytest.raises(NotEnoughDisk, match=r"Disk quota exceeded.*Your quota there is used up"),
    ):
        sims.run(scenario, compile_when="never")


@pytest.mark.parametrize("rows", ["full", "int8"])
@pytest.mark.parametrize(
    "limit", [1000, 3000]
)  # what nodes have fits into neither, or without models on their way
def test_a_limit_on_the_size_of_files_ends_a_run_by_name(rows, limit, tmp_path):
    scenario = small(
        *QUICK, f"engine={{rows='{rows}',paged_to='{tmp_path}'}}", "network.delay={kind='constant',seconds=9}"
    )
    allowed = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, allowed[1]))
    try:
        with pytest.raises(NotEnoughDisk, match=r"File too large.*ulimit -f"):
            sims.run(scenario, compile_when="never")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, allowed)


FILLED = """
import sys
from pathlib import Path
import numpy as np, torch
from sims.rows.forms import FullForm, RowForm
from sims.engine.kept_rows import KeptRows
from sims.rows.packing import Packing
from sims.engine.paged_table import new_paged_table
from sims.engine.spaces import InFiles
from sims.errors import NotEnoughDisk
from gossipfl.training import Nodes

space, first = InFiles(Path(sys.argv[1])), torch.ones(1, 1024)
cpu, places = torch.device("cpu"), np.arange(1000)

def full(begin):
    try:
        begin()
    except NotEnoughDisk as error:
        print("No space left" in str(error))
    else:
        print("no error")

def in_pieces(expect):
    for part in np.split(places, 10):
        expect(part)

rows = KeptRows.of(first, FullForm(), places=1000, device=cpu, space=space)
full(lambda: in_pieces(rows.expect))  # 4 MB of 1
some = int(rows.written.sum())
rows.write(torch.zeros(some, 1024), None, np.flatnonzero(rows.written))
print(0 < some < 1000, float(rows[:].sum()) == 1024 * (1000 - some))  # what is not there is not read
full(lambda: rows.make_room(1500))
del rows, space
for slots in (100, 1000):
    space = InFiles(Path(sys.argv[1]))
    table = new_paged_table(Nodes.start(first), Packing.of(Nodes.start(first), ()), space, nodes=1000)
    if slots < 1000:
        table.make_room(slots)
        table.rows[1001:] = 1
        full(lambda: [table.copy(torch.arange(100), torch.arange(1001, 1101)), in_pieces(table._begin)])
    else:
        full(lambda: table.make_room(slots))
    del table, space
space, each = InFiles(Path(sys.argv[1])), torch.ones(1000, 4096)
full(lambda: KeptRows.of(each, RowForm(8), places=1000, device=cpu, space=space))
"""


def in_a_small_file_system(tmp_path, program, *, size="1m"):
    """Run a program, given the directory of a file system of that size which is gone with the process."""
    mounted = tmp_path / "small"
    mounted.mkdir()
    command = f'mount -t tmpfs -o size={size} none "$0" && exec "$@" "$0"'
    words = ["unshare", "-m", "sh", "-c", command, mounted, sys.executable, "-c", program]
    return subprocess.run(words, check=False, stdout=subprocess.PIPE, text=True)


def mounts_are_allowed():
    """Whether this process may make a file system of its own."""
    words = ["unshare", "-m", "true"]
    return (
        shutil.which("unshare")
        and not subprocess.run(words, check=False, stderr=subprocess.DEVNULL).returncode
    )


needs_mounts = pytest.mark.skipif(not mounts_are_allowed(), reason="needs root, to make a small file system")


@needs_mounts
def test_a_full_disk_is_an_error_and_no_signal(tmp_path):
    done = in_a_small_file_system(tmp_path, FILLED)
    assert done.returncode == 0  # else -7, SIGBUS
    assert done.stdout.split() == ["True"] * 7


RESUMED = """
import sys
from pathlib import Path
import sims
from sims.errors import NotEnoughDisk

there, seen = Path(sys.argv[1]), [0]
more = ("stop.rounds=6", "evaluate.every=1", "churn.events=[{at=3.5,action='join',nodes=50}]")
paged = (*more, "engine={paged_to='%s'}" % there, "output.checkpoint_every=1")
whole, filler = sims.run("digits", overrides=more, compile_when="never"), there / "of somebody else"

def fill():
    if seen[-1] > 2 and not filler.exists():
        with open(filler, "wb", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError:
                pass
    return False

def noted(progress):
    seen.append(progress.rounds)

out = there.parent / "run"
try:
    sims.run("digits", overrides=paged, out=out, compile_when="never", interrupted=fill, on_progress=noted)
except NotEnoughDisk:
    filler.unlink()
    resumed = sims.run(None, out=out, resume=True, compile_when="never")
    print(resumed.summary["result"] == whole.summary["result"])
"""


@pytest.mark.slow
@needs_mounts
def test_after_room_was_made_a_run_is_resumed(tmp_path):
    done = in_a_small_file_system(tmp_path, RESUMED, size="9m")
    assert (done.returncode, done.stdout) == (0, "True\n")


def test_what_reads_whole_tables_is_refused_by_name(tmp_path):
    paged = f"engine.paged_to={tmp_path}"
    for other in ("gate={}", "evaluate.layers=true", "attack={name='sign_flip',share=0.1}"):
        with pytest.raises(InvalidScenario, match=r"engine\.paged_to goes with neither"):
            small(paged, other)
    scenario = small("algorithm.name=d_psgd", paged)
    with pytest.raises(NotSimulable, match=r"engine\.paged_to would be without effect"):
        simulation_of(scenario, world_of(scenario), threads=1, compile_when="never", device="cpu")
    scenario = small(paged)
    with pytest.raises(NotSimulable, match=r"engine\.paged_to: rows in a file are for the CPU"):
        simulation_of(scenario, world_of(scenario), threads=1, compile_when="never", device="meta")


def test_files_of_arrays_are_those_of_safetensors(tmp_path):
    arrays = {
        "b": np.arange(6, dtype=np.int8),
        "a": np.random.default_rng(0).normal(size=(3, 2)).T,
        "flags": np.array([True, False]),
        "none": np.zeros((0, 4), dtype=np.float32),
        "number": np.array(7),
    }
    write_arrays(tmp_path / "own", arrays)
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, tmp_path / "theirs")
    for found in (
        load_file(tmp_path / "own"),
        mapped_arrays(tmp_path / "own"),
        mapped_arrays(tmp_path / "theirs"),
    ):
        assert found.keys() == arrays.keys()
        for name, array in arrays.items():
            assert found[name].dtype == array.dtype
            np.testing.assert_array_equal(found[name], array)
