"""Membership of a running peer: its door, its certificate, and what it tells other members."""
