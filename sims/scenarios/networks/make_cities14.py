"""The network ``cities14``: round trips and speeds between fourteen cities, computed from where they lie.

Round trips are over 1.5 times the great circle at two thirds of the speed of light, and 2 ms; speeds are those of
one TCP connection with a window of 1 MiB (window / round trip), at most 1 Gbit/s. Nothing is measured: the figures
of Tang et al. (SAPS-PSGD, arXiv 2002.09692) come without a licence.
``python -m sims.scenarios.networks.make_cities14`` writes the file again.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

CITIES = {
    "Beijing": (39.9, 116.4),
    "Shanghai": (31.2, 121.5),
    "Shenzhen": (22.5, 114.1),
    "Hong Kong": (22.3, 114.2),
    "Tokyo": (35.7, 139.7),
    "Singapore": (1.35, 103.8),
    "Mumbai": (19.1, 72.9),
    "Sydney": (-33.9, 151.2),
    "Frankfurt": (50.1, 8.7),
    "London": (51.5, -0.1),
    "Virginia": (39.0, -77.5),
    "Silicon Valley": (37.4, -122.1),
    "Montreal": (45.5, -73.6),
    "Sao Paulo": (-23.6, -46.6),
}
WINDOW_BITS, MOST = 8 * 2**20, 1000.0


def network() -> dict[str, np.ndarray]:
    """Round trips in milliseconds, and speeds in Mbit/s."""
    latitude, longitude = np.radians(np.array(list(CITIES.values()))).T
    turn = np.sin(latitude[:, None]) * np.sin(latitude) + np.cos(latitude[:, None]) * np.cos(
        latitude
    ) * np.cos(longitude[:, None] - longitude)
    kilometres = 6371 * np.arccos(np.clip(turn, -1, 1))
    rtt = np.round(2 + 2 * 1.5 * kilometres / 200, 1)  # 200 km a millisecond in glass
    np.fill_diagonal(rtt, 0)
    speeds = np.round(np.minimum(MOST, WINDOW_BITS / np.maximum(rtt, 1) / 1000), 1)
    return {"rtt": rtt.astype(np.float32), "bandwidth": speeds.astype(np.float32)}


if __name__ == "__main__":
    made = network()
    np.savez_compressed(
        Path(__file__).with_name("cities14.npz"), rtt=made["rtt"], bandwidth=made["bandwidth"]
    )
