"""Ask/tell strategies: which architecture next; they never evaluate, never sleep, and touch no data."""

from mimar.strategies.bandit import Bandits
from mimar.strategies.bayesian import Bayesian
from mimar.strategies.density import DensityRatio
from mimar.strategies.differential import DifferentialEvolution
from mimar.strategies.edit_policy import EditPolicy
from mimar.strategies.evolution import Evolution
from mimar.strategies.fantasies import Fantasies
from mimar.strategies.growth import Growth
from mimar.strategies.local import LocalSearch
from mimar.strategies.mixture import ScoreMixture
from mimar.strategies.nondominated import NonDominated
from mimar.strategies.partition_tree import PartitionTree
from mimar.strategies.parts import Measurement, Proposal, Searcher, Strategy, Trial
from mimar.strategies.policies import Factorised
from mimar.strategies.ppo import Ppo
from mimar.strategies.progressive import Progressive
from mimar.strategies.random import Random
from mimar.strategies.ranking import PredictAndRank
from mimar.strategies.recurrent import Recurrent
from mimar.strategies.reinforce import Reinforce
from mimar.strategies.variation import Alternate, Cross, EditPath, Inversion, Mutate, Variation

__all__ = [
    "Alternate",
    "Bandits",
    "Bayesian",
    "Cross",
    "DensityRatio",
    "DifferentialEvolution",
    "EditPath",
    "EditPolicy",
    "Evolution",
    "Factorised",
    "Fantasies",
    "Growth",
    "Inversion",
    "LocalSearch",
    "Measurement",
    "Mutate",
    "NonDominated",
    "PartitionTree",
    "Ppo",
    "PredictAndRank",
    "Progressive",
    "Proposal",
    "Random",
    "Recurrent",
    "Reinforce",
    "ScoreMixture",
    "Searcher",
    "Strategy",
    "Trial",
    "Variation",
]
