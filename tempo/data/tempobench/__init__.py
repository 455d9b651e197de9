"""TempoBench, the embedded dataset: rendered on the spot, its classes differ in tempo alone."""
