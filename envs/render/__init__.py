"""Cameras: one scene description, and the renderers that turn it into frames."""
