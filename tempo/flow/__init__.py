"""Optical flow that jax computes: on an accelerator, or on a CPU without OpenCV's contrib part."""
