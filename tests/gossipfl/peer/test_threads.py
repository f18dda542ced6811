"""Work in threads."""

import threading

import torch
import trio

from gossipfl.peer.threads import run_abandonable, wait_for_abandoned


def test_a_worker_that_computed_before_uses_the_threads_set_since():
    """Else some of a peer's trainings would be rounded otherwise than others, and could not be replayed."""

    async def main():
        torch.set_num_threads(2)
        await trio.to_thread.run_sync(lambda: torch.ones(1_000_000).sum())  # kept, and used again
        torch.set_num_threads(1)
        return await run_abandonable(torch.get_num_threads)

    before = torch.get_num_threads()
    try:
        assert trio.run(main) == 1
    finally:
        torch.set_num_threads(before)


def test_work_that_was_abandoned_can_be_waited_for():
    begun, may_end = threading.Event(), threading.Event()

    def work():
        begun.set()
        may_end.wait()

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_abandonable, work)
            await trio.to_thread.run_sync(begun.wait)
            nursery.cancel_scope.cancel()

    trio.run(main)
    assert not wait_for_abandoned(0)
    may_end.set()
    assert wait_for_abandoned(60)
