"""Pixels to meaning: labelled frames, the camera network, its weights, and what the car believes over time."""
