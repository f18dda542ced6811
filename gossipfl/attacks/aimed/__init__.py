"""Attacks of nodes that collude, aimed at each receiver."""
