"""The families of graphs."""

from __future__ import annotations

from topology.catalogue.family import Family
from topology.catalogue.makers import BETWEEN
from topology.catalogue.parameter import Parameter

__all__ = ["GRAPH_FAMILIES"]

_N = Parameter("n", "whole number", "number of nodes", least=1)
_SEED = Parameter("seed", "whole number", "seed of what is drawn", 0)
_DEGREE = Parameter("degree", "whole number", "links of every node", least=1)
_CONNECTED = Parameter(
    "require_connected",
    "yes or no",
    "refuse a graph that falls into parts",
    True,  # noqa: FBT003
)
_DIRECTED = Parameter("directed", "yes or no", "links have a direction", False)  # noqa: FBT003

_YING = "Ying et al., NeurIPS 2021"

GRAPH_FAMILIES: tuple[Family, ...] = (
    Family(
        name="ring",
        maker="topology.graphs:ring",
        kind="graph",
        parameters=(_N,),
        summary="a cycle: two neighbours each; cheap, and slow to mix as it grows",
        citation="Boyd, Diaconis & Xiao, SIAM Review 2004",
        example="ring:16",
    ),
    Family(
        name="path",
        maker="topology.graphs:path",
        kind="graph",
        parameters=(_N,),
        summary="a line: the ring with one link cut, four times slower",
        citation="Boyd, Diaconis & Xiao, SIAM Review 2004",
        example="path:16",
    ),
    Family(
        name="torus",
        maker="topology.graphs:torus",
        kind="graph",
        parameters=(Parameter("shape", "shape", "length of each side", least=1),),
        summary="a grid wrapped around in every dimension",
        citation="Nedić, Olshevsky & Rabbat, Proc. IEEE 2018",
        example="torus:6x6",
    ),
    Family(
        name="hypercube",
        maker="topology.graphs:hypercube",
        kind="graph",
        parameters=(Parameter("dimension", "whole number", "log₂ of the number of nodes", least=0),),
        summary="2^dimension nodes, linked where their numbers differ in one bit",
        citation="Nedić, Olshevsky & Rabbat, Proc. IEEE 2018",
        example="hypercube:4",
    ),
    Family(
        name="complete",
        maker="topology.graphs:complete",
        kind="graph",
        parameters=(_N,),
        summary="everybody with everybody: exact in one round, at n − 1 messages each",
        citation="Nedić, Olshevsky & Rabbat, Proc. IEEE 2018",
        example="complete:12",
    ),
    Family(
        name="star",
        maker="topology.graphs:star",
        kind="graph",
        parameters=(_N,),
        summary="one centre, which carries everything",
        citation="Nedić, Olshevsky & Rabbat, Proc. IEEE 2018",
        example="star:16",
    ),
    Family(
        name="tree",
        maker="topology.graphs:tree",
        kind="graph",
        parameters=(
            Parameter("branching", "whole number", "children of every inner node", least=1),
            Parameter("depth", "whole number", "links from the root to a leaf", least=0),
        ),
        summary="a balanced tree: the fewest links that connect, and no way around a lost one",
        citation="Vogels et al., NeurIPS 2021",
        example="tree:2,depth=4",
    ),
    Family(
        name="exponential",
        maker="topology.graphs:exponential",
        kind="graph",
        directed=True,
        parameters=(_N,),
        summary="node i sends to i + 1, i + 2, i + 4, …: mixes well at degree log₂ n",
        citation=_YING,
        example="exponential:16",
    ),
    Family(
        name="random-regular",
        maker="topology.graphs:random_regular",
        kind="graph",
        random=True,
        parameters=(_N, _DEGREE, _SEED),
        summary="a random graph of one degree: a fixed graph as good as its degree allows",
        citation="Friedman, Memoirs AMS 2008",
        example="random-regular:32,degree=4,seed=1",
    ),
    Family(
        name="erdos-renyi",
        maker="topology.graphs:erdos_renyi",
        kind="graph",
        random=True,
        parameters=(
            _N,
            Parameter("p", "number", "probability of a link", least=0, most=1),
            _SEED,
            _DIRECTED,
            _CONNECTED,
        ),
        summary="every pair linked with probability p; refused where the draw falls apart",
        citation="Erdős & Rényi, Publ. Math. 1959",
        example="erdos-renyi:32,p=0.16,seed=3",
    ),
    Family(
        name="small-world",
        maker="topology.graphs:small_world",
        kind="graph",
        random=True,
        parameters=(
            _N,
            Parameter("degree", "whole number", "links of every node, an even number", least=2),
            Parameter("rewire", "number", "probability that a link leads elsewhere", least=0, most=1),
            _SEED,
            _CONNECTED,
        ),
        summary="a ring lattice with some links leading elsewhere",
        citation="Watts & Strogatz, Nature 1998",
        example="small-world:24,degree=4,rewire=0.15,seed=2",
    ),
    Family(
        name="scale-free",
        maker="topology.graphs:scale_free",
        kind="graph",
        random=True,
        parameters=(_N, Parameter("links", "whole number", "links of every newcomer", least=1), _SEED),
        summary="newcomers link to nodes that have many links: a few hubs carry most messages",
        citation="Barabási & Albert, Science 1999",
        example="scale-free:32,links=2,seed=1",
    ),
    Family(
        name="geometric",
        maker="topology.graphs:geometric",
        kind="graph",
        random=True,
        parameters=(
            _N,
            Parameter("radius", "number", "greatest length of a link, above 0"),
            _SEED,
            Parameter("dimensions", "whole number", "of the cube that nodes lie in", 2, least=1),
            _CONNECTED,
        ),
        summary="nodes at random in the unit square, linked where close: radios, sensors",
        citation="Penrose, Random Geometric Graphs 2003",
        example="geometric:40,radius=0.3,seed=4",
    ),
    Family(
        name="d-cliques",
        maker="topology.catalogue.makers:d_cliques_of_classes",
        kind="graph",
        random=True,
        parameters=(
            _N,
            Parameter("classes", "whole number", "node i has class i mod classes", 10, least=1),
            Parameter("clique_size", "whole number", "nodes of a clique", 10, least=1),
            Parameter("between", "word", "links between cliques", "ring", choices=BETWEEN),
            _SEED,
            Parameter("swaps", "whole number", "swaps that are tried", 1000, least=0),
            Parameter("labels", "whole numbers", "the class of each node, instead of classes", None),
        ),
        needs="the classes of the nodes' data, which a scenario knows",
        summary="cliques that hold every class",
        citation="Bellet, Kermarrec & Lavoie, SRDS 2022",
        example="d-cliques:40,classes=5,clique_size=5,seed=1",
    ),
    Family(
        name="internet",
        maker="topology.graphs:internet",
        kind="graph",
        parameters=(Parameter("network", "word", "group/name", former="name"),),
        needs="topohub, of gossipfl[internet]",
        summary="a real network with its coordinates, by its name in TopoHub",
        citation="Jurkiewicz, SoftwareX 2023",
        example="internet:topozoo/Abilene",
    ),
    Family(
        name="file",
        maker="topology.graphs:from_file",
        kind="graph",
        former=("from-file",),
        parameters=(
            Parameter("path", "path", "the file"),
            Parameter(
                "file_format",
                "word",
                "told from the suffix if left out",
                None,
                choices=("edges", "graphml", "gexf", "json"),
            ),
            Parameter("directed", "yes or no", "links of an edge list have a direction", False),  # noqa: FBT003
            Parameter("weight", "word", "edge attribute that is kept as a length", None),
            Parameter("drop_self_loops", "yes or no", "instead of refusing them", False),  # noqa: FBT003
            Parameter("merge_duplicates", "yes or no", "instead of refusing them", False),  # noqa: FBT003
            _CONNECTED,
        ),
        needs="the file",
        summary="your own: an edge list, GraphML, GEXF or node-link JSON",
        citation="—",
        example="file:network.graphml",
    ),
)
