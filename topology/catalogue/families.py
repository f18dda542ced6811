"""The families of topologies by name: what the command line lists, the gallery draws and expressions name."""

from __future__ import annotations

from topology.catalogue.family import Family, Parameter

__all__ = ["FAMILIES"]

_N = Parameter("n", "whole number")
_K = Parameter("k", "whole number", 1)
_SEED = Parameter("seed", "whole number", 0)
_SHAPE = Parameter("shape", "shape")
_DEGREE = Parameter("degree", "whole number")

_YING = "Ying et al., NeurIPS 2021"
_TAKEZAWA = "Takezawa et al., NeurIPS 2023"
_SONG = "Song et al., NeurIPS 2022"

_GRAPHS = (
    Family(
        name="ring",
        builder="topology.graphs:ring",
        kind="graph",
        parameters=(_N,),
        summary="a cycle: two neighbours each, and the slowest mixing of all",
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
)

_SEQUENCES = (
    Family(
        name="one-peer-exponential",
        builder="topology.sequences:one_peer_exponential",
        kind="sequence",
        parameters=(_N,),
        summary="node i sends to i + 2^t only: exact after log₂ n rounds if n is a power of two",
        citation=_YING,
        example="one-peer-exponential:16",
    ),
    Family(
        name="k-peer-exponential",
        builder="topology.sequences:k_peer_exponential",
        kind="sequence",
        parameters=(_N, _K),
        summary="node i sends to i + j (k+1)^t for j up to k: exact if n is a power of k + 1",
        citation=_TAKEZAWA,
        example="k-peer-exponential:27,k=2",
    ),
    Family(
        name="hyper-hypercube",
        builder="topology.sequences:hyper_hypercube",
        kind="sequence",
        parameters=(_N, _K),
        summary="cliques along each digit of n: exact if no prime factor of n is above k + 1",
        citation=_TAKEZAWA,
        example="hyper-hypercube:24,k=2",
    ),
    Family(
        name="simple-base",
        builder="topology.sequences:simple_base",
        kind="sequence",
        parameters=(_N, _K),
        summary="exact for every n at degree k, from n written in base k + 1",
        citation=_TAKEZAWA,
        example="simple-base:15,k=1",
    ),
    Family(
        name="base",
        builder="topology.sequences:base",
        kind="sequence",
        parameters=(_N, _K),
        summary="exact for every n at degree k, in at most 2 log_{k+1} n + 2 rounds",
        citation=_TAKEZAWA,
        example="base:25,k=2",
    ),
    Family(
        name="moshpit",
        builder="topology.sequences:moshpit",
        kind="sequence",
        parameters=(_SHAPE,),
        summary="averages along one axis of a grid after another",
        citation="Ryabinin et al., NeurIPS 2021",
        example="moshpit:4x4x2",
    ),
    Family(
        name="random-matching",
        builder="topology.sequences:random_matching",
        kind="random sequence",
        parameters=(_N, _SEED),
        summary="a fresh random pairing every round",
        citation="Boyd, Ghosh, Prabhakar & Shah, IEEE Trans. Inf. Theory 2006",
        example="random-matching:16,seed=1",
    ),
    Family(
        name="epidemic",
        builder="topology.sequences:epidemic",
        kind="random sequence",
        parameters=(_N, Parameter("s", "whole number"), _SEED, Parameter("mode", "word", "oracle")),
        summary="a fresh random s-regular graph (oracle), or s random receivers each (local), every round",
        citation="de Vos et al., NeurIPS 2023",
        example="epidemic:24,s=3,seed=1",
    ),
    Family(
        name="equi-static",
        builder="topology.sequences:equi_static",
        kind="sequence",
        parameters=(_N, _DEGREE, _SEED, Parameter("directed", "yes or no", True)),  # noqa: FBT003
        summary="the mean of random circulants: mixes at a rate that does not depend on n",
        citation=_SONG,
        example="equi-static:16,degree=4,seed=1",
    ),
    Family(
        name="equi-dynamic",
        builder="topology.sequences:equi_dynamic",
        kind="random sequence",
        parameters=(_N, _SEED, Parameter("directed", "yes or no", True)),  # noqa: FBT003
        summary="one random circulant a round: one neighbour each, at a rate that does not depend on n",
        citation=_SONG,
        example="equi-dynamic:16,seed=1",
    ),
    Family(
        name="matcha",
        builder="topology.sequences:matcha",
        kind="random sequence",
        parameters=(Parameter("topology", "topology"), Parameter("budget", "number", 0.5), _SEED),
        summary="matchings of a graph, each switched on as often as it earns its messages",
        citation="Wang et al., Indian Control Conference 2019",
        example="matcha:(random-regular:16,degree=4,seed=1),budget=0.5,seed=1",
    ),
)

FAMILIES: tuple[Family, ...] = _GRAPHS + _SEQUENCES
