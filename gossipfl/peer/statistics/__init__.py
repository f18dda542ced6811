"""Common statistics among members: each one's signed summary, gossiped until all have the same sums."""
