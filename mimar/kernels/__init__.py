"""Compiled kernels registered as torch operators, each beside its pure-torch twin."""
