"""Meaning -> controls: drivers, how they are trained, and how they are scored."""
