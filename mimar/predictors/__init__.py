"""Models that score an architecture without training it."""
