"""The world, its cameras, its rules: all that is simulated or judged, and nothing that learns (no torch here)."""

from envs.kernels import keep_kernels

keep_kernels()
