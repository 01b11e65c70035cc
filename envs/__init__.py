"""The world, its cameras, its rules: all that is simulated or judged, and nothing that learns (no torch here)."""
