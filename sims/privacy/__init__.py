"""Exact privacy accounting of linear runs, for any schedule, loss and delay."""
