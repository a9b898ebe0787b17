"""Comparison and evidence: this room runs recipes, no recipe knows it."""
