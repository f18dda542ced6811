"""The seam: one driver runs every protocol over a network that loses, delays, reorders and is lied to."""

from __future__ import annotations

from collections import deque

import networkx as nx
import numpy as np
import pytest

from topology.sampling import (
    BrahmsSettings,
    CyclonSettings,
    HyParViewSettings,
    SamplingProtocol,
    brahms,
    cyclon,
    hyparview,
)

N = 40
CYCLON = CyclonSettings(view_size=6, shuffle_length=4, healing=2)
BRAHMS = BrahmsSettings(view_size=6, samples=6, partners=2, pulls=2, renewal=2, history=2)
HYPARVIEW = HyParViewSettings(active_size=4, passive_size=8)


class Driver:
    """Peers of one protocol on a network that mixes up what is under way and loses some of it."""

    def __init__(self, protocol: SamplingProtocol, states, *, loss: float) -> None:
        self.protocol, self.states, self.loss = protocol, states, loss
        self.generator = np.random.default_rng(1)
        self.under_way: deque = deque()

    def take(self, peer, step) -> None:
        self.states[peer] = step.state
        self.under_way += [(peer, envelope) for envelope in step.envelopes]

    def settle(self) -> None:
        draw = self.generator.random
        while self.under_way:
            self.under_way.rotate(int(self.generator.integers(len(self.under_way))))
            sender, envelope = self.under_way.popleft()
            if envelope.to not in self.states:
                if sender in self.states:
                    state = self.states[sender]
                    self.take(sender, self.protocol.unreachable(state, envelope.to, draw))
            elif draw() >= self.loss:
                state = self.states[envelope.to]
                self.take(envelope.to, self.protocol.receive(state, sender, envelope.message, draw))

    def period(self) -> None:
        for peer in list(self.states):
            self.take(peer, self.protocol.tick(self.states[peer], self.generator.random))
        self.settle()

    def graph(self) -> nx.Graph:
        graph = nx.Graph()
        graph.add_nodes_from(self.states)
        graph.add_edges_from((i, j) for i, state in self.states.items() for j in state.neighbours)
        return graph


def started(protocol, loss):
    if protocol is cyclon:
        return Driver(
            cyclon, {i: cyclon.start(i, [(i + 1) % N, (i + 2) % N], CYCLON) for i in range(N)}, loss=loss
        )
    if protocol is brahms:
        draw = np.random.default_rng(2).random
        near = {i: [(i + 1) % N, (i + 2) % N] for i in range(N)}
        return Driver(brahms, {i: brahms.start(i, near[i], BRAHMS, draw) for i in range(N)}, loss=loss)
    driver = Driver(hyparview, {i: hyparview.start(i, HYPARVIEW) for i in range(N)}, loss=0.0)
    for i in range(1, N):
        driver.take(i, hyparview.join(driver.states[i], int(driver.generator.integers(i))))
        driver.settle()
    driver.loss = loss
    return driver


@pytest.mark.parametrize("loss", [0.0, 0.2])
@pytest.mark.parametrize("protocol", [brahms, cyclon, hyparview], ids=["brahms", "cyclon", "hyparview"])
def test_a_third_may_leave_and_the_rest_stay_together_and_forget_them(protocol, loss):
    driver = started(protocol, loss)
    for _ in range(15):
        driver.period()
    assert nx.is_connected(driver.graph())
    gone = set(range(0, N, 3))
    for peer in gone:
        del driver.states[peer]
    for _ in range(30):
        driver.period()
    graph = driver.graph()
    assert set(graph) == set(driver.states)  # nobody links to one that left
    assert nx.is_connected(graph)
    size = {cyclon: CYCLON.view_size, hyparview: HYPARVIEW.active_size, brahms: BRAHMS.samples}[protocol]
    for peer, state in driver.states.items():
        assert len(set(state.neighbours)) <= len(state.neighbours) <= size
        assert peer not in state.neighbours
