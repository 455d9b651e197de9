"""Evaluation protocols: each has `name`, `is_due(...)` and `run(variables, step) -> dict`."""
