"""Scores of untrained networks, each a frozen part: part(net, batch, seed) → a number."""

from mimar.evaluators.proxies.naming import labels, named, names
from mimar.evaluators.proxies.parts import Proxy, noise

__all__ = ["Proxy", "labels", "named", "names", "noise"]
