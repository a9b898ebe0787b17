"""Relaxations: from raw architecture parameters (alphas) to gates, one a file."""

from mimar.gradient.relax.adversarial import Adversarial
from mimar.gradient.relax.box import Box
from mimar.gradient.relax.categorical import Categorical
from mimar.gradient.relax.dirichlet import Dirichlet
from mimar.gradient.relax.edge_softmax import EdgeSoftmax
from mimar.gradient.relax.fair_rounds import FairRounds
from mimar.gradient.relax.group_dropout import GroupDropout
from mimar.gradient.relax.gumbel import Gumbel
from mimar.gradient.relax.gumbel_hard import GumbelHard
from mimar.gradient.relax.parts import Alphas, Context, Gates, Relaxation, entropy, judged, keeps, relaxed, settle
from mimar.gradient.relax.path_drop import PathDrop
from mimar.gradient.relax.perturbed import Perturbed
from mimar.gradient.relax.sampling import concrete_log_density
from mimar.gradient.relax.sigmoid import Sigmoid
from mimar.gradient.relax.softmax import Softmax
from mimar.gradient.relax.sparse_noisy import SparseNoisy
from mimar.gradient.relax.start import Start

__all__ = [
    "Adversarial",
    "Alphas",
    "Box",
    "Categorical",
    "Context",
    "Dirichlet",
    "EdgeSoftmax",
    "FairRounds",
    "Gates",
    "GroupDropout",
    "Gumbel",
    "GumbelHard",
    "PathDrop",
    "Perturbed",
    "Relaxation",
    "Sigmoid",
    "Softmax",
    "SparseNoisy",
    "Start",
    "concrete_log_density",
    "entropy",
    "judged",
    "keeps",
    "relaxed",
    "settle",
]
