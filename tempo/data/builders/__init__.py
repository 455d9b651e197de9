"""Builders turn videos into datasets that `tempo.data.pipeline.open_records` reads."""
