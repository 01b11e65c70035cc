"""What should happen, and what did: plain data."""
