"""Tables 1 to 4 of the VIPriors solution: their runs, and the whole chain on TempoBench."""
