"""Studies and benchmarks: programs that measure `tempo` and regenerate published figures."""
