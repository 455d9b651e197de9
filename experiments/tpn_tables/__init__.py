"""Tables 2 to 6 of the TPN paper: their runs, and what runs gave beside what was published."""
