"""One sequence of every family, on small and awkward numbers of nodes."""

import numpy as np

from topology import graphs, mixing, sequences


def every_family():
    """Yield sequences of all families."""
    for n in (2, 3, 7, 10, 16):
        yield sequences.random_matching(n, 1)
        yield sequences.epidemic(n, min(4, n - 1), 1, "local")
        links = np.random.default_rng(n).uniform(0, 5, (n, n))
        yield sequences.adaptive_matching(links, recent=3, seed=1)
        yield sequences.adaptive_matching(links, recent=3, matching="proposals", seed=1)
        yield sequences.equi_static(n, min(3, n - 1), 2)
        yield sequences.equi_dynamic(n, 1)
        yield sequences.equi_dynamic(n, 1, directed=False)
        yield sequences.one_peer_exponential(n)
        yield sequences.k_peer_exponential(n, 2)
        yield sequences.base(n, 2)
        yield sequences.simple_base(n, 1)
        yield sequences.static(mixing.uniform(graphs.exponential(n)))
    yield sequences.equi_static(9, 4, 2, directed=False)
    yield sequences.equi_static(10, 3, 2, directed=False)
    for n, s in ((2, 1), (7, 6), (10, 3), (10, 4), (10, 9)):
        yield sequences.epidemic(n, s, 1)
    yield sequences.hyper_hypercube(24, 3)
    yield sequences.moshpit((2, 3, 4))
    yield sequences.matcha(graphs.random_regular(20, 5, 1), 0.5, 1)
    yield sequences.shuffled(sequences.base(25, 2), 1)
    yield sequences.shuffled(sequences.epidemic(9, 3, 1, "local"), 1)
    yield sequences.static(mixing.uniform(graphs.star(5)))
    yield sequences.static([[1.0]])
