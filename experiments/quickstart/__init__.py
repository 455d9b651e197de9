"""The quickstart as a study; see README.md beside this file."""
