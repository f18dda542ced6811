"""Operations: the work of the engine, as the timeline writes it.

* EMIT: take a snapshot of a node's state, because a message with it is on its way;
* ON_CLOCK: a node changes before it sends, training included;
* ON_RECEIPT: a node absorbs the model of the snapshot ``ref``;
* ON_ANSWER: a node absorbs the answer ``ref``, and applies the step that it began at its own snapshot ``begun``;
* ARRIVAL: a model has arrived that its receiver absorbs later, if at all; only written where it is asked for.

ON_CLOCK, ON_RECEIPT and ON_ANSWER are the functions of `gossipfl.algorithms.MessageAlgorithm` with these names.
"""

from __future__ import annotations

from gossipfl.algorithms.messages import Occasion

__all__ = ["ARRIVAL", "EMIT", "ON_ANSWER", "ON_CLOCK", "ON_RECEIPT", "OPERATIONS", "operation_on"]

# Those that take in a model come last: compiled code compares.
EMIT, ON_CLOCK, ON_RECEIPT, ON_ANSWER = range(4)
OPERATIONS = 4
ARRIVAL = OPERATIONS  # nothing for the engine to do


def operation_on(occasion: Occasion) -> int:
    """The operation in which a node acts on an occasion."""
    return {"clock": ON_CLOCK, "receipt": ON_RECEIPT, "answer": ON_ANSWER}[occasion]
