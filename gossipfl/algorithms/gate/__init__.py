"""The gate before every merge: a limit on what a received model may do to the peer's own."""

from __future__ import annotations

from gossipfl.algorithms.gate.admission import Admission, Arrival, let_in
from gossipfl.algorithms.gate.gatekeeper import Gatekeeper
from gossipfl.algorithms.gate.judgement import LEARNED_LOSS_SHARE

__all__ = ["LEARNED_LOSS_SHARE", "Admission", "Arrival", "Gatekeeper", "let_in"]
