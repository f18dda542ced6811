"""Short programs a user would write; each runs as it stands."""
