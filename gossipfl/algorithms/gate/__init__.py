"""The gate before every merge: a limit on what a received model may do to the peer's own."""

from __future__ import annotations

from gossipfl.algorithms.gate.admission import Admission, Arrival, Claim, as_let_in, let_in
from gossipfl.algorithms.gate.gatekeeper import Gatekeeper, Losses, admit_together
from gossipfl.algorithms.gate.judgement import LEARNED_LOSS_SHARE
from gossipfl.algorithms.gate.probe import LossProbe, LossProbes

__all__ = [
    "LEARNED_LOSS_SHARE",
    "Admission",
    "Arrival",
    "Claim",
    "Gatekeeper",
    "LossProbe",
    "LossProbes",
    "Losses",
    "admit_together",
    "as_let_in",
    "let_in",
]
