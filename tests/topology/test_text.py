"""Files as spreadsheets and editors save them: byte order marks, semicolons, decimal commas."""

import numpy as np
import pytest

from topology import graphs
from topology.errors import InvalidParameter, MalformedGraphFile
from topology.matrices import read_matrix

EDGES = "0 1 0.5\n1 2 2\n2 0 1.25\n"


def edges_of(topology):
    found = topology.to_networkx().edges(data="weight")
    return sorted((min(u, v), max(u, v), weight) for u, v, weight in found)


WANTED = [(0, 1, 0.5), (0, 2, 1.25), (1, 2, 2.0)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    "text",
    [
        EDGES,
        "0;1;0,5\n1;2;2\n2;0;1,25\n",
        "0;1;0.5\n1;2;2,0\n2;0;1.25\n",
        "0 1 0,5\n1 2 2\n2 0 1,25\n",
        "0\t1\t0,5\n1\t2\t2\n2\t0\t1,25\n",
        "0,1,0.5\n1,2,2\n2,0,1.25\n",
        "0, 1, 0.5\n1, 2, 2\n2, 0, 1.25\n",
        '"0";"1";"0,5"\n"1";"2";"2"\n"2";"0";"1,25"\n',
        "# a comment\n\n0 1 0.5 # another\n1 2 2\n2 0 1.25\n",
    ],
)
def test_edges_are_read_however_they_were_saved(tmp_path, encoding, end, text):
    file = tmp_path / "graph.csv"
    file.write_bytes(text.replace("\n", end).encode(encoding))
    assert edges_of(graphs.from_file(file, weight="weight")) == WANTED


@pytest.mark.parametrize(
    "text",
    [
        "0,1,0,5\n1,2,0,5\n",  # four fields: which comma is decimal cannot be known
        "0,1 5\n1,2 5\n",
        "a,b 0,5\nb,c 0,5\n",
        "0;1;0,5;7\n",
        "0;1;\n1;;2\n",
        "0 1 heavy\n",
        "0;1;1.234,5\n",
        "0\n1\n",
    ],
)
def test_what_cannot_be_read_for_certain_is_refused_with_its_line(tmp_path, text):
    file = tmp_path / "graph.csv"
    file.write_text(text)
    with pytest.raises(MalformedGraphFile, match="line 1, is not an edge"):
        graphs.from_file(file, require_connected=False)


@pytest.mark.parametrize("header", ["source,target", "from;to", "u v"])
def test_a_header_is_no_edge(tmp_path, header):
    file = tmp_path / "graph.csv"
    file.write_text(f"{header}\n0 1\n1 2\n")
    with pytest.raises(MalformedGraphFile, match="seems to begin with a header"):
        graphs.from_file(file, require_connected=False)


def test_text_in_another_encoding_is_named(tmp_path):
    file = tmp_path / "graph.edges"
    file.write_bytes("Genf Zürich\nZürich Bern\n".encode("latin-1"))
    with pytest.raises(MalformedGraphFile, match="not text; expected UTF-8"):
        graphs.from_file(file)


@pytest.mark.parametrize("wrong", ["nan", "inf", "-inf", "-1", "-0,5", "1e999"])
@pytest.mark.parametrize("suffix", ["edges", "graphml"])
def test_weights_that_are_no_lengths_are_refused(tmp_path, wrong, suffix):
    import networkx as nx

    file = tmp_path / f"graph.{suffix}"
    if suffix == "edges":
        file.write_text(f"0 1 1\n1 2 {wrong}\n2 0 1\n")
    else:
        graph = nx.Graph()
        graph.add_edge(0, 1, weight=1.0)
        graph.add_edge(1, 2, weight=float(wrong.replace(",", ".")))
        nx.write_graphml(graph, file)
    with pytest.raises(
        InvalidParameter, match="weight is not a length; expected finite numbers of at least 0"
    ):
        graphs.from_file(file, weight="weight")
    with pytest.raises(InvalidParameter, match="not a length"):
        graphs.from_edges([(0, 1), (1, 2)], weights=[1.0, float(wrong.replace(",", "."))])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_node_link_files_may_have_a_byte_order_mark(tmp_path, encoding):
    file = tmp_path / "graph.json"
    file.write_text(
        '{"nodes": [{"id": 0}, {"id": 1}], "edges": [{"source": 0, "target": 1}]}', encoding=encoding
    )
    assert graphs.from_file(file).n == 2


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize(
    "text", ["0,1.5\n1.5,0\n", "0;1,5\n1,5;0\n", "0 1,5\n1,5 0\n", "to;from;weight\n0;1;1,5\n1;0;1,5\n"]
)
def test_matrices_are_read_however_they_were_saved(tmp_path, encoding, text):
    file = tmp_path / "matrix.csv"
    file.write_text(text, encoding=encoding)
    found = read_matrix(file)
    dense = found if isinstance(found, np.ndarray) else found.toarray()
    assert dense.tolist() == [[0, 1.5], [1.5, 0]]


@pytest.mark.parametrize("text", ["0,1\n1\n", "0,x\n1,0\n"])
def test_a_matrix_with_a_line_that_does_not_fit_is_refused(tmp_path, text):
    file = tmp_path / "matrix.csv"
    file.write_text(text)
    with pytest.raises(InvalidParameter, match=r"holds no matrix.*line \d"):
        read_matrix(file)
