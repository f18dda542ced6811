"""Examination of a peer for ``gossipfl doctor``, whether it runs or not."""
