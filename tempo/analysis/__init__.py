"""Analyses of saved scores: arrays in, numbers and figures out; no network runs here."""
