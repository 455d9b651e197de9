"""A checkpoint's answer to video files: which views, which windows, and the model that scores."""
