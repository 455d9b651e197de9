"""Does a temporal pyramid help where tempo varies? SlowOnly with and without TPN on TempoBench."""
