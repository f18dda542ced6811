"""The families of mixing sequences."""

from __future__ import annotations

from topology.catalogue.family import Family
from topology.catalogue.parameter import Parameter

__all__ = ["SEQUENCE_FAMILIES"]

_N = Parameter("n", "whole number", "number of nodes", least=1)
_K = Parameter("k", "whole number", "most neighbours in a round", 1, least=1)
_SEED = Parameter("seed", "whole number", "seed of what is drawn", 0)
_DIRECTED = Parameter("directed", "yes or no", "links have a direction", True)  # noqa: FBT003

_YING = "Ying et al., NeurIPS 2021"
_TAKEZAWA = "Takezawa et al., NeurIPS 2023"
_SONG = "Song et al., NeurIPS 2022"

SEQUENCE_FAMILIES: tuple[Family, ...] = (
    Family(
        name="one-peer-exponential",
        maker="topology.sequences:one_peer_exponential",
        kind="sequence",
        directed=True,
        parameters=(_N,),
        summary="node i sends to i + 2^t only: exact after log₂ n rounds if n is a power of two",
        citation=_YING,
        example="one-peer-exponential:16",
    ),
    Family(
        name="k-peer-exponential",
        maker="topology.sequences:k_peer_exponential",
        kind="sequence",
        directed=True,
        parameters=(_N, _K),
        summary="node i sends to i + j (k+1)^t for j up to k: exact if n is a power of k + 1",
        citation=_TAKEZAWA,
        example="k-peer-exponential:27,k=2",
    ),
    Family(
        name="hyper-hypercube",
        maker="topology.sequences:hyper_hypercube",
        kind="sequence",
        parameters=(_N, _K),
        summary="cliques along each digit of n: exact if no prime factor of n is above k + 1",
        citation=_TAKEZAWA,
        example="hyper-hypercube:24,k=2",
    ),
    Family(
        name="simple-base",
        maker="topology.sequences:simple_base",
        kind="sequence",
        parameters=(_N, _K),
        summary="exact for every n at degree k, from n written in base k + 1",
        citation=_TAKEZAWA,
        example="simple-base:15,k=1",
    ),
    Family(
        name="base",
        maker="topology.sequences:base",
        kind="sequence",
        parameters=(_N, _K),
        summary="exact for every n at degree k, in at most 2 log_{k+1} n + 2 rounds",
        citation=_TAKEZAWA,
        example="base:25,k=2",
    ),
    Family(
        name="moshpit",
        maker="topology.sequences:moshpit",
        kind="sequence",
        parameters=(Parameter("shape", "shape", "length of each side of the grid", least=1),),
        summary="averages along one axis of a grid after another",
        citation="Ryabinin et al., NeurIPS 2021",
        example="moshpit:4x4x2",
    ),
    Family(
        name="random-matching",
        maker="topology.sequences:random_matching",
        kind="sequence",
        random=True,
        parameters=(_N, _SEED),
        summary="a fresh random pairing every round",
        citation="Boyd, Ghosh, Prabhakar & Shah, IEEE Trans. Inf. Theory 2006",
        example="random-matching:16,seed=1",
    ),
    Family(
        name="epidemic",
        maker="topology.sequences:epidemic",
        kind="sequence",
        random=True,
        parameters=(
            _N,
            Parameter("s", "whole number", "models each node sends in a round", least=1),
            _SEED,
            Parameter(
                "mode",
                "word",
                "a regular graph, or everyone's own choice",
                "oracle",
                choices=("oracle", "local"),
            ),
        ),
        summary="a fresh random s-regular graph (oracle), or s random receivers each (local), every round",
        citation="de Vos et al., NeurIPS 2023",
        example="epidemic:24,s=3,seed=1",
    ),
    Family(
        name="equi-static",
        maker="topology.sequences:equi_static",
        kind="sequence",
        directed=True,
        parameters=(
            _N,
            Parameter("degree", "whole number", "links of every node", least=1),
            _SEED,
            _DIRECTED,
        ),
        summary="the mean of random circulants: mixes at a rate that does not depend on n",
        citation=_SONG,
        example="equi-static:16,degree=4,seed=1",
    ),
    Family(
        name="equi-dynamic",
        maker="topology.sequences:equi_dynamic",
        kind="sequence",
        directed=True,
        random=True,
        parameters=(
            _N,
            _SEED,
            _DIRECTED,
            Parameter("eta", "number", "weight of the neighbour, η", 0.5, least=0, most=1),
        ),
        summary="one random circulant a round: one neighbour each, at a rate that does not depend on n",
        citation=_SONG,
        example="equi-dynamic:16,seed=1",
    ),
    Family(
        name="matcha",
        maker="topology.sequences:matcha",
        kind="sequence",
        random=True,
        parameters=(
            Parameter("graph", "topology", "the graph whose matchings are used", former="topology"),
            Parameter("budget", "number", "expected share of the matchings in a round", 0.5, least=0, most=1),
            _SEED,
        ),
        summary="matchings of a graph, each switched on as often as it earns its messages",
        citation="Wang et al., Indian Control Conference 2019",
        example="matcha:(random-regular:16,degree=4,seed=1),budget=0.5,seed=1",
    ),
    Family(
        name="matrix",
        maker="topology.catalogue.makers:matrix_of_file",
        kind="sequence",
        directed=True,
        parameters=(Parameter("path", "path", "the file"),),
        needs="the file",
        summary="your own mixing matrix: .npz, .npy, .mtx or .csv, as `gossipfl topology export` writes them",
        example="matrix:network.npz",
    ),
)
