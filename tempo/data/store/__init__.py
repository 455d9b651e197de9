"""How records lie on disk, and how a part of one is read."""
