"""Tables I to VI of MTNet: their runs, what the networks cost, and two ablations on TempoBench."""
