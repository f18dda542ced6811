"""The execution of windows by a shard: supersteps of its own operations, and snapshots of others between them."""

from __future__ import annotations

from collections.abc import Callable, Generator

import numpy as np
import torch
from numpy.typing import NDArray

from sims.compiler.operations import EMIT, ON_ANSWER, ON_RECEIPT
from sims.compiler.timeline import Timeline, Window
from sims.engine.engine import Arrays, Engine
from sims.engine.receiving import RECEIPTS, ReceivingEngine
from sims.sharding.partition import Partition
from sims.sharding.post import Post, Rows
from sims.sharding.supersteps import Plan, numbered, plan_of

__all__ = ["AT_PLACES", "SLOTS", "ShardMessages"]

Ints = NDArray[np.int64]
AT_PLACES = {"versions", *(f"{RECEIPTS}told.{name}" for name in ("rows", "ages", "is_lie"))}
"""Names of arrays that gates and hostile nodes have for all places of a table, in a state."""
SLOTS = "slots."
"""Names of arrays of snapshots that a shard holds begin with this in its state."""


class ShardMessages:
    """Windows of a whole network, of which one shard does its part; see `sims.engine.part.Execution`.

    Between windows snapshots that are still needed have the numbers 0, 1, ..., by which all shards know them.

    Parameters
    ----------
    engine : Engine
        Of the shard's nodes.
    partition : Partition
    shard : int
    post : Post
    """

    def __init__(self, engine: Engine, partition: Partition, shard: int, post: Post) -> None:
        self._engine, self._partition, self._shard, self._post = engine, partition, shard, post
        self._receiving = engine if isinstance(engine, ReceivingEngine) else None
        self._local = np.full(len(partition.shard), -1, dtype=np.int64)
        members = partition.members(shard)
        self._local[members] = np.arange(len(members))
        self._holders = np.zeros(0, dtype=np.int64)  # of all snapshots
        self._held = np.zeros(0, dtype=np.int64)  # those that are here, increasing
        self._slots = np.zeros(0, dtype=np.int64)  # and their slots

    def follow(
        self, timeline: Timeline, until: int, *, begins: Callable[[int, int], None]
    ) -> Generator[None, None, None]:
        """Do the shard's operations of all windows; yield after each."""
        for window in timeline.windows(until):
            begins(*window.span)
            timeline.kept(self.execute(window))
            yield

    def execute(self, window: Window) -> Ints:
        """Do the shard's operations of a window; return how pending messages are known from now on."""
        plan = plan_of(window, first_holders=self._holders, shard_of=self._partition.shard, shard=self._shard)
        sent, received = (
            np.searchsorted(each[:, 0], np.arange(plan.steps + 1)) for each in (plan.sent, plan.received)
        )
        place = np.full(len(window), -1, dtype=np.int64)  # of an operation among those of its superstep
        of_window = self._engine.during
        for k in range(plan.steps):
            self._engine.during = _of_part(of_window, plan.bounds, k)
            lent = self._exchanged(
                plan.sent[sent[k] : sent[k + 1]], plan.received[received[k] : received[k + 1]]
            )
            chosen = plan.own[plan.bounds[k] : plan.bounds[k + 1]]
            place[chosen] = np.arange(len(chosen))
            self._do(plan, k, place, lent)
        self._engine.during = of_window
        pending = numbered(window.pending, plan.first)
        kept = np.unique(pending)
        self._holders, self._held = plan.holders[kept], np.searchsorted(kept, self._held)
        return -1 - np.searchsorted(kept, pending)

    def _do(self, plan: Plan, k: int, place: Ints, lent: tuple[Ints, Ints]) -> None:
        """Do a superstep's operations; ``lent`` are numbers and slots of snapshots of other shards."""
        window, stay = plan.window, plan.until[self._held] >= k
        chosen = plan.own[plan.bounds[k] : plan.bounds[k + 1]]
        made = chosen[(window.kind[chosen] == EMIT) & (plan.until[plan.first + chosen] >= k)]
        slots = self._slots[stay]
        if len(chosen):
            kinds = window.kind[chosen]
            refs = self._references(plan, k, place, lent)
            some_begun, some_peers = len(window.begun) > 0, len(window.peer) > 0
            part = Window(
                kind=kinds,
                node=self._local[window.node[chosen]].astype(np.int32),
                ref=refs(window.ref[chosen], kinds >= ON_RECEIPT),
                part=window.part[chosen],
                time=window.time[chosen],
                pending=np.concatenate([-1 - slots, place[made]]),
                begun=refs(window.begun[chosen], kinds == ON_ANSWER) if some_begun else window.begun,
                peer=window.peer[chosen] if some_peers else window.peer,
            )
            slots = -1 - self._engine.execute(part)
        held = np.concatenate([self._held[stay], plan.first + made])
        order = np.argsort(held)  # those of an earlier superstep may have larger numbers
        self._held, self._slots = held[order], slots[order]

    def _references(
        self, plan: Plan, k: int, place: Ints, lent: tuple[Ints, Ints]
    ) -> Callable[[Ints, NDArray[np.bool_]], Ints]:
        """Make references as the engine knows them, of a window's; 0 of operations that have none."""
        numbers = np.concatenate([lent[0], self._held])
        slots = np.concatenate([lent[1], self._slots])
        order = np.argsort(numbers)
        numbers, slots = numbers[order], slots[order]

        def of(refs: Ints, have: NDArray[np.bool_]) -> Ints:
            wanted = numbered(np.where(have, refs, 0), plan.first)
            operation = np.maximum(wanted - plan.first, 0)
            is_own = self._local[plan.window.node[operation]] >= 0
            is_new = (wanted >= plan.first) & (plan.step[operation] == k) & is_own
            found = np.minimum(np.searchsorted(numbers, wanted), len(numbers) - 1)
            kept = -1 - slots[found] if len(slots) else 0
            return np.where(have, np.where(is_new, place[operation], kept), 0)

        return of

    def _exchanged(self, sent: Ints, received: Ints) -> tuple[Ints, Ints]:
        """Send snapshots, and put those of others into free slots; return their numbers and slots."""
        table, n = self._engine.table, self._engine.table.n

        def gathered(numbers: Ints) -> Rows:
            lent = n + 1 + self._slots[np.searchsorted(self._held, numbers)]
            places = torch.from_numpy(lent).to(table.rows.device)
            beside = () if self._receiving is None else self._receiving.beside(lent)
            return (
                *(each.index_select(0, places).cpu().numpy() for each in (table.rows, table.ages)),
                *beside,
            )

        others, senders = np.unique(sent[:, 1]).tolist(), np.unique(received[:, 1]).tolist()
        outgoing = ((other, gathered(sent[sent[:, 1] == other, 2])) for other in others)
        found = self._post.exchanged(outgoing, senders)
        numbers, count = received[:, 2], len(received)
        slots = np.setdiff1d(np.arange(len(self._slots) + count), self._slots)[:count]
        if count:
            table.make_room(int(slots.max()) + 1)
        for sender in senders:
            free = n + 1 + slots[received[:, 1] == sender]
            places, (rows, ages, *more) = torch.from_numpy(free).to(table.rows.device), found.pop(sender)
            for whole, part in ((table.rows, rows), (table.ages, ages)):
                whole.index_copy_(0, places, torch.from_numpy(np.array(part)).to(whole.device))
            if self._receiving is not None:
                self._receiving.put_beside(free, more)
        return numbers, slots

    def state(self) -> Arrays:
        """State of the shard's nodes, and of the snapshots it holds."""
        table, n = self._engine.table, self._engine.table.n
        places = torch.from_numpy(n + 1 + self._slots).to(table.rows.device)
        further: Arrays = {}
        if self._receiving is not None:
            received = self._receiving.state()
            further = {name: array for name, array in received.items() if name.startswith(RECEIPTS)}
            for name in AT_PLACES & received.keys():
                further[name] = received[name][:n]
                further[SLOTS + name] = received[name][n + 1 + self._slots]
        return {
            **further,
            "rows": table.rows[:n].cpu().numpy(),
            "ages": table.ages[:n].cpu().numpy(),
            "kept": table.kept[:n].cpu().numpy(),
            "steps": table.steps,
            f"{SLOTS}rows": table.rows.index_select(0, places).cpu().numpy(),
            f"{SLOTS}ages": table.ages.index_select(0, places).cpu().numpy(),
            f"{SLOTS}held": self._held,
            f"{SLOTS}holders": self._holders,
        }

    def restore(self, state: Arrays) -> None:
        """Continue from a value of `state`."""
        held = state[f"{SLOTS}held"].astype(np.int64)
        whole = {}
        for name in ("rows", "ages", "kept", *sorted(AT_PLACES & state.keys())):
            own, more = state[name], state.get(f"{SLOTS}{name}")
            whole[name] = np.concatenate([own, own[:1], *([] if more is None else [more])])
        whole.setdefault("versions", np.zeros(len(whole["rows"]), dtype=np.int64))
        receipts = {name: array for name, array in state.items() if name.startswith(RECEIPTS)}
        self._engine.restore({**receipts, **whole, "steps": state["steps"]})
        self._held, self._slots = held, np.arange(len(held))
        self._holders = state[f"{SLOTS}holders"].astype(np.int64)


def _of_part(of_window: Callable[[float], None], bounds: Ints, k: int) -> Callable[[float], None]:
    """Tell of a window whose k-th part has been done to some share."""
    start, end, count = int(bounds[k]), int(bounds[k + 1]), max(1, int(bounds[-1]))
    return lambda share: of_window((start + share * (end - start)) / count)
