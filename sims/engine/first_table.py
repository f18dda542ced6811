"""The table that a message-driven simulation begins with, as its scenario wants rows to be kept."""

from __future__ import annotations

import torch

from gossipfl.training import Nodes
from sims.engine.kept_table import new_kept_table
from sims.engine.paged_table import new_paged_table
from sims.engine.spaces import InFiles, InMemory
from sims.engine.table import Table, new_table
from sims.errors import NotSimulable
from sims.rows.forms import RowForm
from sims.rows.packing import Packing
from sims.scenario import Scenario

__all__ = ["first_table"]


def first_table(
    first: Nodes, packing: Packing, scenario: Scenario, *, nodes: int, device: torch.device
) -> Table:
    """Table of nodes that have not trained yet, without slots.

    Parameters
    ----------
    first : Nodes
        One if all start alike, else all.
    packing : Packing
    scenario : Scenario
    nodes : int
        How many there are.
    device : torch.device

    Raises
    ------
    NotEnoughDisk
        If rows are to be in a file, and it cannot be made.
    NotSimulable
        If they are to be in a file, and on another device than the CPU.
    """
    section = scenario.engine
    if section.paged_to is not None and device.type != "cpu":
        raise NotSimulable("engine.paged_to: rows in a file are for the CPU", got=device.type)
    form = RowForm.of(section)
    if section.paged_to is None and form is None:
        return new_table(first, packing, nodes=nodes, device=device)
    if form is None:
        assert section.paged_to is not None  # noqa: S101 - as was asked above
        return new_paged_table(first, packing, InFiles(section.paged_to), nodes=nodes)
    space = InMemory(device) if section.paged_to is None else InFiles(section.paged_to)
    return new_kept_table(first, packing, form, space, nodes=nodes, seed=scenario.seed, device=device)
