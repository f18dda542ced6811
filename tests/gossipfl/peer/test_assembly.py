"""Warnings while a peer's parts are put together."""

import os

import pytest

from gossipfl.peer.assembly import warn_of_threads


@pytest.mark.parametrize(("threads", "cores", "warned"), [(2, 2, False), (3, 2, True), (64, 1, True)])
def test_more_threads_than_cores_are_warned_of(monkeypatch, caplog, threads, cores, warned):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    warn_of_threads(threads)
    expected = f"runtime.threads is {threads}, but this process may use {cores} core"
    assert (expected in caplog.text) is warned
