"""Attacks of single nodes, which know no more than themselves."""
