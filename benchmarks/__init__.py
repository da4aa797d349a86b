"""Figures, one command each; every one prints JSON. See docs/benchmarks.md."""
