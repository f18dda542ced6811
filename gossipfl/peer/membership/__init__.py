"""A peer's own part in who may take part: its door, its certificate, and what it tells other members."""
