"""Video files to pixels by FFmpeg: what a file holds, whether it is whole, and chosen frames."""
