"""The tables of the spatiotemporal pyramid network: their runs, and its ablations on TempoBench."""
