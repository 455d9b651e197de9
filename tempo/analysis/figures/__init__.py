"""The figures of a report: numbers in, pictures out; one file for each subject."""
