"""A shard as the engine's part of the population: its data, and rows of others by post."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from gossipfl.tasks.samples import map_leaves
from gossipfl.training import NodeData
from sims.engine.engine import Engine
from sims.engine.part import Surroundings
from sims.sharding.boundary import boundary_of
from sims.sharding.collectives import Collectives
from sims.sharding.messages import ShardMessages
from sims.sharding.partition import Partition
from sims.sharding.post import Post
from sims.world import World

__all__ = ["ShardPart", "data_of"]

Ints = NDArray[np.int64]


class ShardPart:
    """What a shard is to its engine; see `sims.engine.part.Part`.

    Parameters
    ----------
    partition : Partition
    shard : int
    post : Post
    """

    def __init__(self, partition: Partition, shard: int, post: Post) -> None:
        self._partition, self._shard, self._post = partition, shard, post
        self._numbers = partition.members(shard)
        self._collectives = Collectives(partition, shard, post)

    @property
    def numbers(self) -> Ints:
        """Numbers of its nodes."""
        return self._numbers

    @property
    def leads(self) -> bool:
        """The first shard does."""
        return self._shard == 0

    def world(self, world: World) -> World:
        """A world with the samples of its nodes alone; scenario, tests and who is hostile are those of all."""
        return world.of_part(data_of(world.trainer.data, self._numbers))

    def mean(self, rows: Tensor) -> Tensor:
        """The mean of the rows of all nodes, ``[1, K]``: sums in float64, added in the order of the shards."""
        total = self._collectives.sum(rows.sum(dim=0, dtype=torch.float64).cpu().numpy())
        return torch.from_numpy(total / len(self._partition.shard))[None].to(rows.device, rows.dtype)

    def largest(self, number: Tensor) -> Tensor:
        """The largest of one number of each shard."""
        return torch.tensor(self._collectives.largest(int(number)), dtype=number.dtype, device=number.device)

    def everybody(self, rows: Tensor) -> Tensor:
        """Rows of all nodes, ``[N, K]``."""
        return torch.from_numpy(self._collectives.rows(rows.cpu().numpy())).to(rows.device)

    def execution(self, engine: Engine) -> ShardMessages:
        """Its part of windows of the whole network."""
        return ShardMessages(engine, self._partition, self._shard, self._post)

    def around(self, matrix: csr_array, *, owners: Ints | None = None) -> Surroundings:
        """One's own rows of a matrix, and the way to what they combine."""
        shard_of = self._partition.shard if owners is None else self._partition.shard[owners]
        boundary = boundary_of(matrix, shard_of, self._shard)

        def reach(rows: Tensor) -> Tensor:
            gathered = (
                (shard, (rows.index_select(0, torch.from_numpy(places).to(rows.device)).cpu().numpy(),))
                for shard, places in boundary.sent.items()
            )
            found = self._post.exchanged(gathered, boundary.received)
            every = rows.new_empty(boundary.matrix.shape[1], rows.shape[1])
            every[: len(rows)] = rows
            for shard, places in boundary.received.items():
                (theirs,) = found.pop(shard)  # may be in shared memory, and not to be written to
                if every.device.type == "cpu":
                    every.numpy()[places] = theirs
                else:
                    every[places] = torch.from_numpy(theirs.copy()).to(rows.device)
            return every

        return Surroundings(matrix=boundary.matrix, numbers=boundary.numbers, reach=reach)


def data_of(data: NodeData, members: Ints) -> NodeData:
    """The samples of some nodes, with no others in memory; numbered, and so drawn, as among all."""
    parts = [data.indices[data.offsets[node] : data.offsets[node + 1]] for node in members]
    indices, inputs, targets = np.concatenate(parts), data.inputs, data.targets
    if data.in_memory:
        used, indices = np.unique(indices, return_inverse=True)
        kept = torch.from_numpy(used)
        inputs, targets = (map_leaves(lambda leaf: leaf[kept], tree) for tree in (inputs, targets))
    offsets = np.concatenate([[0], np.cumsum(data.counts[members])]).astype(np.int64)
    return NodeData(inputs, targets, offsets, indices.astype(np.int64), data.numbers[members])
