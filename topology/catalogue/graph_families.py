"""Families of graphs, which stay as they are."""

from __future__ import annotations

from topology.catalogue.family import Family, Parameter

__all__ = ["GRAPH_FAMILIES"]

_N = Parameter("n", "whole number")
_SEED = Parameter("seed", "whole number", 0)
_SHAPE = Parameter("shape", "shape")
_DEGREE = Parameter("degree", "whole number")

_YING = "Ying et al., NeurIPS 2021"

GRAPH_FAMILIES: tuple[Family, ...] = (
    Family(
        name="ring",
        builder="topology.graphs:ring",
        kind="graph",
        parameters=(_N,),
        summary="a cycle: two neighbours each; cheap, and slow to mix as it grows",
        citation="Boyd, Diaconis & Xiao, SIAM Review 2004",
        example="ring:16",
    ),
    Family(
        name="path",
        builder="topology.graphs:path",
        kind="graph",
        parameters=(_N,),
        summary="a line: the ring with one link cut, four times slower",
        citation="Boyd, Diaconis & Xiao, SIAM Review 2004",
        example="path:16",
    ),
    Family(
        name="torus",
        builder="topology.graphs:torus",
        kind="graph",
        parameters=(_SHAPE,),
        summary="a grid wrapped around in every dimension",
        citation="Nedić, Olshevsky & Rabbat, Proc. IEEE 2018",
        example="torus:6x6",
    ),
    Family(
        name="hypercube",
        builder="topology.graphs:hypercube",
        kind="graph",
        parameters=(Parameter("dimension", "whole number"),),
        summary="2^dimension nodes, linked where their numbers differ in one bit",
        citation="Nedić, Olshevsky & Rabbat, Proc. IEEE 2018",
        example="hypercube:4",
    ),
    Family(
        name="complete",
        builder="topology.graphs:complete",
        kind="graph",
        parameters=(_N,),
        summary="everybody with everybody: exact in one round, at n − 1 messages each",
        citation="Nedić, Olshevsky & Rabbat, Proc. IEEE 2018",
        example="complete:12",
    ),
    Family(
        name="star",
        builder="topology.graphs:star",
        kind="graph",
        parameters=(_N,),
        summary="one centre, which carries everything",
        citation="Nedić, Olshevsky & Rabbat, Proc. IEEE 2018",
        example="star:16",
    ),
    Family(
        name="tree",
        builder="topology.graphs:tree",
        kind="graph",
        parameters=(Parameter("branching", "whole number"), Parameter("depth", "whole number")),
        summary="a balanced tree: the fewest links that connect, and no way around a lost one",
        citation="Vogels et al., NeurIPS 2021",
        example="tree:2,depth=4",
    ),
    Family(
        name="exponential",
        builder="topology.graphs:exponential",
        kind="directed graph",
        parameters=(_N,),
        summary="node i sends to i + 1, i + 2, i + 4, …: mixes well at degree log₂ n",
        citation=_YING,
        example="exponential:16",
    ),
    Family(
        name="random-regular",
        builder="topology.graphs:random_regular",
        kind="graph",
        parameters=(_N, _DEGREE, _SEED),
        summary="a random graph of one degree: a fixed graph as good as its degree allows",
        citation="Friedman, Memoirs AMS 2008",
        example="random-regular:32,degree=4,seed=1",
    ),
    Family(
        name="erdos-renyi",
        builder="topology.graphs:erdos_renyi",
        kind="graph",
        parameters=(_N, Parameter("p", "number"), _SEED),
        summary="every pair linked with probability p; refused where the draw falls apart",
        citation="Erdős & Rényi, Publ. Math. 1959",
        example="erdos-renyi:32,p=0.16,seed=3",
    ),
    Family(
        name="small-world",
        builder="topology.graphs:small_world",
        kind="graph",
        parameters=(_N, _DEGREE, Parameter("rewire", "number"), _SEED),
        summary="a ring lattice with some links leading elsewhere",
        citation="Watts & Strogatz, Nature 1998",
        example="small-world:24,degree=4,rewire=0.15,seed=2",
    ),
    Family(
        name="scale-free",
        builder="topology.graphs:scale_free",
        kind="graph",
        parameters=(_N, Parameter("links", "whole number"), _SEED),
        summary="newcomers link to nodes that have many links: a few hubs carry most messages",
        citation="Barabási & Albert, Science 1999",
        example="scale-free:32,links=2,seed=1",
    ),
    Family(
        name="geometric",
        builder="topology.graphs:geometric",
        kind="graph",
        parameters=(_N, Parameter("radius", "number"), _SEED),
        summary="nodes at random in the unit square, linked where close: radios, sensors",
        citation="Penrose, Random Geometric Graphs 2003",
        example="geometric:40,radius=0.3,seed=4",
    ),
    Family(
        name="d-cliques",
        builder="topology.catalogue.adapters:d_cliques_of_classes",
        kind="graph",
        parameters=(
            _N,
            Parameter("classes", "whole number", 10),
            Parameter("clique_size", "whole number", 10),
            Parameter("between", "word", "ring"),
            _SEED,
        ),
        summary="cliques that hold every class; node i has class i mod classes",
        citation="Bellet, Kermarrec & Lavoie, SRDS 2022",
        example="d-cliques:40,classes=5,clique_size=5,seed=1",
    ),
    Family(
        name="internet",
        builder="topology.graphs:internet",
        kind="graph",
        parameters=(Parameter("name", "word"),),
        summary="a real network with its coordinates, by its name in TopoHub",
        citation="Jurkiewicz, SoftwareX 2023",
        example="internet:topozoo/Abilene",
    ),
    Family(
        name="file",
        builder="topology.graphs:from_file",
        kind="graph",
        parameters=(Parameter("path", "path"),),
        summary="your own: an edge list, GraphML, GEXF or node-link JSON",
        citation="—",
        example="file:network.graphml",
    ),
)
