"""The command as a user types it."""

from __future__ import annotations

import json
import subprocess
import sys

import networkx as nx
import numpy as np
import pytest
import scipy.io
import scipy.sparse
from typer.testing import CliRunner

import topology
from topology import graphs, sequences, spectrum
from topology.catalogue import FAMILIES, build
from topology.cli import app
from topology.cli.quantities import bits_per_second, bytes_of, seconds
from topology.errors import InvalidParameter


def run(*arguments, code=0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "160"})
    assert result.exit_code == code, (result.output, result.exception)
    return result


def told(*arguments):
    return json.loads(run(*arguments, "--json").stdout)


def test_the_list_has_every_family():
    listed = told("list")
    assert [row["name"] for row in listed] == [family.name for family in FAMILIES]
    table = run("list").stdout
    assert all(family.usage.split(":")[0] in table for family in FAMILIES)


def test_show_tells_what_the_library_reckons():
    facts = told("show", "torus:8x8")
    assert facts["nodes"] == 64
    assert facts["links"] == 128
    assert facts["spectral_gap"] == pytest.approx(0.117157, abs=1e-6)
    sequence = build("torus:8x8").sequence
    assert facts["rounds"] == spectrum.rounds_to_consensus(sequence, 1e-6)
    assert "0.1172" in run("show", "torus:8x8").stdout
    assert told("show", "base:25,k=2", "--tolerance", 1e-9)["rounds"] == 6


def test_show_copes_with_a_gap_too_small_for_the_solver():
    facts = told("show", "ring:5000")
    assert facts["spectral_gap"] == pytest.approx(spectrum.closed_forms.ring_gap(5000), rel=1e-5)
    assert facts["share_removed"] == pytest.approx(2 * facts["spectral_gap"], rel=1e-4)


def test_compare_reproduces_the_consensus_curve_table():
    rows = {row["expression"]: row for row in told("compare", "ring:25", "torus:5x5", "base:25,k=1")}
    assert [rows[name]["rounds"] for name in rows] == [267, 19, 9]
    assert rows["ring:25"]["curve"][:4] == pytest.approx([0.96, 0.2933, 0.1946, 0.1534], abs=1e-4)
    assert rows["base:25,k=1"]["removed_per_round"] == pytest.approx(1 / 9)


@pytest.mark.parametrize("columns", [40, 80, 100, 200])
def test_no_number_is_ever_broken(columns):
    """However narrow the terminal: headings, and then names, take several lines instead."""
    topologies = ("ring:64", "exponential:64", "random_regular:100,degree=4,seed=1")
    arguments = ["compare", *topologies, "--model", "5MB"]
    facts = told(*arguments)
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": str(columns)})
    lines = result.output.splitlines()
    rule = next(index for index, line in enumerate(lines) if set(line.strip()) == {"─"})
    numbers = [line.split() for line in lines[rule + 1 :] if len(line.split()) > 2]
    assert [row[-1] for row in numbers] == [f"{row['bytes_per_round'] / 1e6:,.1f}" for row in facts]
    assert [row[-7:-5] for row in numbers] == [[str(row["nodes"]), str(row["degree"])] for row in facts]
    assert "".join(line.split()[0] for line in lines[rule + 1 :]) == "".join(topologies)
    if columns >= 80:
        assert max(map(len, lines)) <= columns
    heading = " ".join(lines[:rule])
    assert all(word in heading for word in ("lifetime", "degree", "MB/round"))


def test_compare_draws_and_reckons_costs(tmp_path):
    curves, scatter = tmp_path / "curves.svg", tmp_path / "scatter.png"
    rows = told(
        "compare", "ring:9", "base:9,k=2", "--model", "1MB", "--bandwidth", "8Mbit", "--latency", "500ms",
        "--plot", curves, "--scatter", scatter,
    )  # fmt: skip
    assert [row["seconds_per_round"] for row in rows] == pytest.approx([2.5, 2.5])
    assert "<svg" in curves.read_text()
    assert scatter.read_bytes().startswith(b"\x89PNG")


def test_advise_gives_the_advice_of_the_library(tmp_path):
    question = ("advise", "--nodes", 20, "--degree", 3, "--model", "2MB", "--bandwidth", "10Mbit")
    found = told(*question, "--latency", "40ms", "--plot", tmp_path / "advice.png")
    expected = topology.advise(20, 3, 2_000_000, 10e6, 0.04)
    assert [row["expression"] for row in found["recommendations"]] == [
        r.expression for r in expected.recommendations
    ]
    assert found["recommendations"][0]["seconds"] == pytest.approx(expected.best.seconds)
    assert (tmp_path / "advice.png").exists()
    text = run(*question, "--latency", "40ms", "--candidate", "ring:20", "--candidate", "complete:20").stdout
    assert "ring:20. It removes" in text
    assert "Not considered: complete:20, because its busiest node sends 19 models" in text


def test_advise_takes_measured_round_trips(tmp_path):
    round_trips = np.full((12, 12), 200.0)
    for name, write in (
        ("a.npy", np.save),
        ("a.npz", lambda path, m: np.savez(path, rtt=m)),
        ("a.csv", lambda path, m: np.savetxt(path, m, delimiter=",")),
    ):
        write(tmp_path / name, round_trips)
        question = ("advise", "-n", 8, "--degree", 1, "--model", "1MB", "--bandwidth", "8Mbit")
        best = told(*question, "--round-trips", tmp_path / name)["recommendations"][0]
        assert best["seconds_per_round"] == pytest.approx(1.1)


@pytest.mark.parametrize("suffix", [".graphml", ".gexf", ".json", ".edges"])
def test_exported_links_are_read_by_networkx(tmp_path, suffix):
    path = tmp_path / f"graph{suffix}"
    run("export", "random-regular:12,degree=3,seed=2", path)
    read = {
        ".graphml": lambda: nx.read_graphml(path, node_type=int),
        ".gexf": lambda: nx.read_gexf(path, node_type=int),
        ".json": lambda: nx.node_link_graph(json.loads(path.read_text()), edges="edges"),
        ".edges": lambda: nx.read_edgelist(path, nodetype=int),
    }[suffix]()
    assert nx.utils.graphs_equal(
        nx.Graph(sorted(tuple(sorted(edge)) for edge in read.edges())),
        nx.Graph(graphs.random_regular(12, 3, 2).edges().tolist()),
    )


@pytest.mark.parametrize("suffix", [".mtx", ".npz", ".csv"])
def test_exported_matrices_are_those_of_the_round(tmp_path, suffix):
    path = tmp_path / f"matrix{suffix}"
    run("export", "base:15,k=2", path, "--round", 2)
    expected = sequences.base(15, 2).matrix(2).toarray()
    if suffix == ".csv":
        table = np.loadtxt(path, delimiter=",", skiprows=1)
        came = np.zeros((15, 15))
        came[table[:, 0].astype(int), table[:, 1].astype(int)] = table[:, 2]
    else:
        came = (scipy.io.mmread(path) if suffix == ".mtx" else scipy.sparse.load_npz(path)).toarray()
    assert came == pytest.approx(expected, abs=1e-15)


def test_a_round_of_a_sequence_exports_as_a_weighted_digraph(tmp_path):
    path = tmp_path / "round.graphml"
    run("export", "one-peer-exponential:8", path, "--round", 1)
    graph = nx.read_graphml(path, node_type=int)
    assert graph.is_directed()
    assert set(graph.edges(data="weight")) == {(i, (i + 2) % 8, 0.5) for i in range(8)}


def test_draw_writes_pictures_and_animations(tmp_path):
    for name in ("a.svg", "a.png", "a.pdf"):
        run("draw", "base:6,k=1", tmp_path / name)
        assert (tmp_path / name).stat().st_size > 1000
    run("draw", "ring:6", tmp_path / "a.gif", "--rounds", 2)
    assert (tmp_path / "a.gif").read_bytes().startswith(b"GIF")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("show", "rnig:8"), "Did you mean 'ring'"),
        (("show", "random-regular:7,degree=3"), "n·degree even"),
        (("show", "ring:99999999999999"), "not enough memory"),
        (("compare", "torus:3by3"), "8x8"),
        (("advise", "-n", 1), "an integer of at least 2"),
        (("advise", "-n", 8, "--model", "5 elephants"), "cannot read the size"),
        (("advise", "-n", 8, "--round-trips", "/nowhere/rtt.npy"), "No such file"),
        (("draw", "ring:8", "/nowhere/at/all.svg"), "No such file"),
        (("draw", "ring:8", "ring.bmp"), ".svg, .png, .pdf"),
        (("export", "ring:8", "ring.xlsx"), ".graphml"),
    ],
)
def test_slips_end_in_one_message_and_exit_code_2(arguments, says):
    result = run(*arguments, code=2)
    assert says in result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.output


def test_a_file_of_objects_is_not_loaded(tmp_path):
    np.save(tmp_path / "rtt.npy", np.array([{}, []], dtype=object), allow_pickle=True)
    result = run("advise", "-n", 8, "--round-trips", tmp_path / "rtt.npy", code=2)
    assert "holds no matrix" in result.stderr


def test_importing_the_command_loads_no_scientific_library():
    heavy = "numpy scipy networkx matplotlib rich.table"
    code = f"import sys, topology.cli; print([m for m in '{heavy}'.split() if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (bits_per_second, "20Mbit", 20e6),
        (bits_per_second, "20 Mbit/s", 20e6),
        (bits_per_second, "2.5MB/s", 20e6),
        (bits_per_second, "1Gbps", 1e9),
        (bits_per_second, "1e6", 1e6),
        (bytes_of, "5MB", 5_000_000),
        (bytes_of, "1.5GiB", 1.5 * 2**30),
        (bytes_of, "650k", 650_000),
        (seconds, "30ms", 0.03),
        (seconds, "2 min", 120),
        (seconds, "7", 7),
    ],
)
def test_quantities_are_read(read, text, value):
    assert read(text) == pytest.approx(value)


@pytest.mark.parametrize("read", [bits_per_second, bytes_of, seconds])
@pytest.mark.parametrize("text", ["", "fast", "-5ms", "20 parsecs", "1.2.3s"])
def test_what_is_no_quantity_is_refused(read, text):
    with pytest.raises(InvalidParameter, match="cannot read"):
        read(text)


def test_advise_chooses_an_outer_step_and_local_steps():
    question = (
        "advise",
        "-n",
        16,
        "--outer",
        "random-matching:seed=1",
        "--model",
        "6MB",
        "--bandwidth",
        "20Mbit",
    )
    text = run(*question, "--compute", "500ms").stdout
    assert "η = 0.94 and μ = 0.45" in text
    assert "H = 44: an exchange takes 2.42 s" in text
    found = told(*question)
    assert found["local_steps"] is None
    assert found["step"]["factor"] ** 2 <= 0.5
    assert [each["momentum"] for each in found["choices"]] == [0.0, 0.3, 0.5, 0.7, 0.9]
    assert "for no H where steps take none: give --compute" in run(*question, "--compute", "0s").stdout
    assert "one node disagrees with nobody" in run("advise", "-n", 1, "--outer", "ring:1", code=2).stderr
    refused = run("advise", "-n", 6, "--outer", "epidemic:6,s=2,mode=local", code=2).stderr
    assert "second moments is not known" in refused
    estimated = run("advise", "-n", 6, "--outer", "matcha:(ring:6)").stdout
    assert "estimated from 1,536 rounds as they are drawn" in estimated
    said = run("advise", "-n", 9, "--outer", "ring:10", code=2).stderr
    assert "ring:10 has another number of nodes than --nodes; expected 9; got 10" in said
