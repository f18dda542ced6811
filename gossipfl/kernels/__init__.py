"""Kernels of this project's own, compiled once on each machine; without a compiler, torch's do."""
