"""Terms: extra losses of the inner or the outer problem, one a file."""

from mimar.gradient.regularise.ablation import Ablation
from mimar.gradient.regularise.admm import Admm
from mimar.gradient.regularise.concentration import Concentration
from mimar.gradient.regularise.decay import AlphaDecay, WeightDecay
from mimar.gradient.regularise.distil import Distil
from mimar.gradient.regularise.expected_cost import ExpectedCost
from mimar.gradient.regularise.gap import GeneralisationGap
from mimar.gradient.regularise.loss_scale import LossScale
from mimar.gradient.regularise.partial_decay import PartialDecay
from mimar.gradient.regularise.parts import Moment, Scope, Term, View, keeps, seen, settle
from mimar.gradient.regularise.proximity import Proximity
from mimar.gradient.regularise.tether import Tether
from mimar.gradient.regularise.zero_one import ZeroOne

__all__ = [
    "Ablation",
    "Admm",
    "AlphaDecay",
    "Concentration",
    "Distil",
    "ExpectedCost",
    "GeneralisationGap",
    "LossScale",
    "Moment",
    "PartialDecay",
    "Proximity",
    "Scope",
    "Term",
    "Tether",
    "View",
    "WeightDecay",
    "ZeroOne",
    "keeps",
    "seen",
    "settle",
]
