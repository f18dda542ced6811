"""Models that gossip is compared with at the end of a demo, computed side by side in processes of their own."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from gossipfl.demo.baselines import Baselines, baseline, baseline_steps
from gossipfl.demo.personal import personal_metrics
from gossipfl.demo.plan import KEYBOARD, DemoPlan
from gossipfl.demo.warm import warm_pool
from gossipfl.settings import TrainingSettings

__all__ = ["compared"]


def compared(
    plan: DemoPlan, settings: TrainingSettings, metric: str, rows: Mapping[int, Tensor]
) -> tuple[Baselines, list[float] | None]:
    """Train alone and on all data pooled; of keyboards, measure personal models, too.

    Parameters
    ----------
    plan : DemoPlan
    settings : TrainingSettings
        Those of the peers.
    metric : str
        Which of the task's metrics to report.
    rows : mapping of int to Tensor
        Model ``[D]`` of each surviving peer, by its number.

    Raises
    ------
    TaskError, SettingError
        If the task is wrong.
    """
    with warm_pool(2) as pool:
        alone, pooled = (
            pool.apply_async(baseline, (plan, settings, metric, kind)) for kind in ("alone", "pooled")
        )
        plain = [(index, row.numpy()) for index, row in rows.items()]
        halves = [dict(plain[::2]), dict(plain[1::2])]
        personal = (
            [pool.apply_async(personal_metrics, (plan, half)) for half in halves]
            if plan.task == KEYBOARD
            else []
        )
        alone_steps, pooled_steps = baseline_steps(plan, settings)
        baselines = Baselines(
            alone=alone.get(), pooled=pooled.get(), alone_steps=alone_steps, pooled_steps=pooled_steps
        )
        by_peer = {
            index: value
            for half, found in zip(halves, personal, strict=False)
            for index, value in zip(half, found.get(), strict=True)
        }
    return baselines, [by_peer[index] for index in rows] if by_peer else None
