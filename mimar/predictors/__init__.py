"""Models that score an architecture without training it."""

from mimar.predictors.boosted import BoostedTrees
from mimar.predictors.forest import RandomForest
from mimar.predictors.gaussian import GaussianProcess
from mimar.predictors.graph_network import GraphNetwork
from mimar.predictors.laplacian import Laplacian
from mimar.predictors.parts import Effect, Model, Predictor
from mimar.predictors.resources import ResourceProcess
from mimar.predictors.ridge import Ridge
from mimar.predictors.sequence import Sequences
from mimar.predictors.shared_encoder import SharedEncoder
from mimar.predictors.weisfeiler_lehman import WeisfeilerLehman

__all__ = [
    "BoostedTrees",
    "Effect",
    "GaussianProcess",
    "GraphNetwork",
    "Laplacian",
    "Model",
    "Predictor",
    "RandomForest",
    "ResourceProcess",
    "Ridge",
    "Sequences",
    "SharedEncoder",
    "WeisfeilerLehman",
]
