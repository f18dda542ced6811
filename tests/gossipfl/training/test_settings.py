"""Step sizes by age."""

from __future__ import annotations

import math

import pytest
import torch

from gossipfl.errors import SettingError
from gossipfl.settings import TrainingSettings
from gossipfl.training import learning_rates


def rates(ages: list[int], **settings: object) -> list[float]:
    return learning_rates(torch.tensor(ages), TrainingSettings(learning_rate=0.4, **settings)).tolist()  # type: ignore[arg-type]


def test_a_constant_step_size_stays() -> None:
    assert rates([0, 10, 2**62]) == pytest.approx([0.4] * 3)


def test_an_inverse_step_size_halves_at_its_decay_age_and_never_ends() -> None:
    assert rates([0, 100, 300, 9900], schedule="inverse", decay_age=100) == pytest.approx(
        [0.4, 0.2, 0.1, 0.004]
    )


def test_a_cosine_step_size_ends_at_its_decay_age_and_stays_there() -> None:
    came = rates([0, 25, 50, 100, 101, 10**6], schedule="cosine", decay_age=100, final_fraction=0.1)
    quarter = 0.1 + 0.9 * (1 + math.cos(math.pi / 4)) / 2
    assert came == pytest.approx([0.4, 0.4 * quarter, 0.4 * 0.55, 0.04, 0.04, 0.04])


def test_warm_up_stable_decay_falls_in_its_last_share_alone() -> None:
    came = rates(
        [0, 4, 9, 80, 90, 95, 100, 10**6], schedule="wsd", decay_age=100, decay_share=0.2, warm_up=10,
        final_fraction=0.1,
    )  # fmt: skip
    assert came == pytest.approx([0.04, 0.2, 0.4, 0.4, 0.4 * 0.55, 0.4 * 0.325, 0.04, 0.04])


def test_a_share_of_one_falls_from_the_beginning() -> None:
    came = rates([0, 25, 100], schedule="wsd", decay_age=100, decay_share=1.0, final_fraction=0.0)
    assert came == pytest.approx([0.4, 0.3, 0.0])


@pytest.mark.parametrize("schedule", ["inverse", "cosine", "wsd"])
def test_step_sizes_never_rise_with_age(schedule: str) -> None:
    came = rates(list(range(300)), schedule=schedule, decay_age=100)
    assert came == sorted(came, reverse=True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"learning_rate": math.inf},
        {"learning_rate": 0},
        {"momentum": 1},
        {"clip_norm": 0},
        {"batch_size": 0},
        {"decay_share": 0},
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingError, match=next(iter(wrong))):
        TrainingSettings(**wrong)  # type: ignore[arg-type]
