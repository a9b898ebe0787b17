"""Ask/tell strategies: which architecture next; they never evaluate, never sleep, and touch no data."""

from mimar.strategies.evolution import Evolution
from mimar.strategies.local import LocalSearch
from mimar.strategies.parts import Measurement, Proposal, Searcher, Strategy, Trial
from mimar.strategies.random import Random
from mimar.strategies.variation import Cross, Mutate, Variation

__all__ = [
    "Cross",
    "Evolution",
    "LocalSearch",
    "Measurement",
    "Mutate",
    "Proposal",
    "Random",
    "Searcher",
    "Strategy",
    "Trial",
    "Variation",
]
