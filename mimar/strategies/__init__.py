"""Ask/tell strategies: which architecture next; they never evaluate, never sleep, and touch no data."""

from mimar.strategies.parts import Measurement, Proposal, Searcher, Strategy, Trial
from mimar.strategies.random import Random

__all__ = ["Measurement", "Proposal", "Random", "Searcher", "Strategy", "Trial"]
