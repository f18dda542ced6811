"""Work in threads."""

import torch
import trio

from gossipfl.peer.threads import run_abandonable


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
