"""Weights from elsewhere: inflation of image networks, rules for public checkpoints."""
