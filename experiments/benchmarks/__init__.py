"""Benchmarks: each module runs as `python -m experiments.benchmarks.<name>` and prints JSON."""
