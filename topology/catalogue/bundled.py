"""The library's own families."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from topology import graphs, sequences
from topology.catalogue.family import Family
from topology.catalogue.makers import adaptive_matching_of_file, d_cliques_of_classes, matrix_of_file
from topology.catalogue.signature import family_of

__all__ = ["FAMILIES"]

_BOYD = "Boyd, Diaconis & Xiao, SIAM Review 2004"
_NEDIC = "Nedić, Olshevsky & Rabbat, Proc. IEEE 2018"
_YING = "Ying et al., NeurIPS 2021"
_TAKEZAWA = "Takezawa et al., NeurIPS 2023"
_SONG = "Song et al., NeurIPS 2022"

_DEFAULTS = {"seed": 0, "k": 1, "budget": 0.5}
"""What an expression may leave out, though the functions ask for it."""


def _family(maker: Callable[..., Any], *, name: str = "", **about: Any) -> Family:  # noqa: ANN401
    """A family with its function's name, and random if the function takes a seed."""
    family = family_of(name or maker.__name__.replace("_", "-"), maker, defaults=_DEFAULTS, **about)
    takes_seed = any(parameter.name == "seed" for parameter in family.parameters)
    return replace(family, random=about.get("random", takes_seed))


FAMILIES: tuple[Family, ...] = (
    _family(
        graphs.ring,
        summary="a cycle: two neighbours each; cheap, and slow to mix as it grows",
        citation=_BOYD,
        example="ring:16",
    ),
    _family(
        graphs.path,
        summary="a line: the ring with one link cut, four times slower",
        citation=_BOYD,
        example="path:16",
    ),
    _family(
        graphs.torus,
        summary="a grid wrapped around in every dimension",
        citation=_NEDIC,
        example="torus:6x6",
    ),
    _family(
        graphs.hypercube,
        summary="2^dimension nodes, linked where their numbers differ in one bit",
        citation=_NEDIC,
        example="hypercube:4",
    ),
    _family(
        graphs.complete,
        summary="everybody with everybody: exact in one round, at n − 1 messages each",
        citation=_NEDIC,
        example="complete:12",
    ),
    _family(
        graphs.star,
        summary="one centre, which carries everything",
        citation=_NEDIC,
        example="star:16",
    ),
    _family(
        graphs.tree,
        summary="a balanced tree: the fewest links that connect, and no way around a lost one",
        citation="Vogels et al., NeurIPS 2021",
        example="tree:2,depth=4",
    ),
    _family(
        graphs.exponential,
        summary="node i sends to i + 1, i + 2, i + 4, …: mixes well at degree log₂ n",
        citation=_YING,
        example="exponential:16",
        directed=True,
    ),
    _family(
        graphs.random_regular,
        summary="a random graph of one degree: a fixed graph as good as its degree allows",
        citation="Friedman, Memoirs AMS 2008",
        example="random-regular:32,degree=4,seed=1",
    ),
    _family(
        graphs.erdos_renyi,
        summary="every pair linked with probability p; refused where the draw falls apart",
        citation="Erdős & Rényi, Publ. Math. 1959",
        example="erdos-renyi:32,p=0.16,seed=3",
    ),
    _family(
        graphs.small_world,
        summary="a ring lattice with some links leading elsewhere",
        citation="Watts & Strogatz, Nature 1998",
        example="small-world:24,degree=4,rewire=0.15,seed=2",
    ),
    _family(
        graphs.scale_free,
        summary="newcomers link to nodes that have many links: a few hubs carry most messages",
        citation="Barabási & Albert, Science 1999",
        example="scale-free:32,links=2,seed=1",
    ),
    _family(
        graphs.geometric,
        summary="nodes at random in the unit square, linked where close: radios, sensors",
        citation="Penrose, Random Geometric Graphs 2003",
        example="geometric:40,radius=0.3,seed=4",
    ),
    _family(
        d_cliques_of_classes,
        summary="cliques that hold every class",
        citation="Bellet, Kermarrec & Lavoie, SRDS 2022",
        example="d-cliques:40,classes=5,clique_size=5,seed=1",
        name="d-cliques",
        needs="the classes of the nodes' data, which a scenario knows",
    ),
    _family(
        graphs.dumbbell,
        summary="two cliques joined by a single link; with beside=B, B further nodes linked to everybody",
        citation="He, Karimireddy & Jaggi, 2022",
        example="dumbbell:20",
    ),
    _family(
        graphs.two_worlds,
        summary="two cliques, each node linked to some of the other; beside=B as in dumbbell",
        citation="Gaucher, Dieuleveut & Hendrikx, ICML 2025",
        example="two-worlds:26,links=8",
    ),
    _family(
        graphs.internet,
        summary="a real network with its coordinates, by its name in TopoHub",
        citation="Jurkiewicz, SoftwareX 2023",
        example="internet:topozoo/Abilene",
        needs="topohub, of gossipfl[internet]",
        renamed={"name": "network"},
    ),
    _family(
        graphs.from_file,
        summary="your own: an edge list, GraphML, GEXF or node-link JSON",
        example="file:network.graphml",
        name="file",
        needs="the file",
        former="from-file",
    ),
    _family(
        sequences.one_peer_exponential,
        summary="node i sends to i + 2^t only: exact after log₂ n rounds if n is a power of two",
        citation=_YING,
        example="one-peer-exponential:16",
        directed=True,
    ),
    _family(
        sequences.k_peer_exponential,
        summary="node i sends to i + j (k+1)^t for j up to k: exact if n is a power of k + 1",
        citation=_TAKEZAWA,
        example="k-peer-exponential:27,k=2",
        directed=True,
    ),
    _family(
        sequences.hyper_hypercube,
        summary="cliques along each digit of n: exact if no prime factor of n is above k + 1",
        citation=_TAKEZAWA,
        example="hyper-hypercube:24,k=2",
    ),
    _family(
        sequences.simple_base,
        summary="exact for every n at degree k, from n written in base k + 1",
        citation=_TAKEZAWA,
        example="simple-base:15,k=1",
    ),
    _family(
        sequences.base,
        summary="exact for every n at degree k, in at most 2 log_{k+1} n + 2 rounds",
        citation=_TAKEZAWA,
        example="base:25,k=2",
    ),
    _family(
        sequences.moshpit,
        summary="averages along one axis of a grid after another",
        citation="Ryabinin et al., NeurIPS 2021",
        example="moshpit:4x4x2",
    ),
    _family(
        sequences.random_matching,
        summary="a fresh random pairing every round",
        citation="Boyd, Ghosh, Prabhakar & Shah, IEEE Trans. Inf. Theory 2006",
        example="random-matching:16,seed=1",
    ),
    _family(
        adaptive_matching_of_file,
        summary="pairs over fast links, and over others whenever those met lately do not connect the network",
        citation="Tang et al., IEEE TPDS 2023",
        example="adaptive-matching:32,bandwidth=links.csv,threshold=4,seed=1",
        name="adaptive-matching",
        needs="the file",
    ),
    _family(
        sequences.epidemic,
        summary="a fresh random s-regular graph (oracle), or s random receivers each (local), every round",
        citation="de Vos et al., NeurIPS 2023",
        example="epidemic:24,s=3,seed=1",
    ),
    _family(
        sequences.equi_static,
        summary="the mean of random circulants: mixes at a rate that does not depend on n",
        citation=_SONG,
        example="equi-static:16,degree=4,seed=1",
        directed=True,
        random=False,
    ),
    _family(
        sequences.equi_dynamic,
        summary="one random circulant a round: one neighbour each, at a rate that does not depend on n",
        citation=_SONG,
        example="equi-dynamic:16,seed=1",
        directed=True,
    ),
    _family(
        sequences.matcha,
        summary="matchings of a graph, each switched on as often as it earns its messages",
        citation="Wang et al., Indian Control Conference 2019",
        example="matcha:(random-regular:16,degree=4,seed=1),budget=0.5,seed=1",
        renamed={"topology": "graph"},
    ),
    _family(
        matrix_of_file,
        summary="your own mixing matrix, or [T, n, n] in turn: .npz, .npy, .mtx, .csv, as of `topology export`",
        example="matrix:network.npz",
        name="matrix",
        directed=True,
        needs="the file",
    ),
)
