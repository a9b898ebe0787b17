"""The language of search spaces: choices, architectures as values, and modules that hold alternatives."""

from __future__ import annotations

from mimar.space import modules
from mimar.space.architecture import Architecture
from mimar.space.cells import S1, S2, S3, S4, darts, darts_choices, edge_operations, nasbench201
from mimar.space.chains import Chain
from mimar.space.choice import Choice
from mimar.space.distance import hamming, hausdorff
from mimar.space.encoding import Graphs
from mimar.space.formats import DARTS_OPERATIONS, NASBENCH201_EDGES, NASBENCH201_OPERATIONS, Genotype
from mimar.space.known import FREE, Residual
from mimar.space.modules import EXECUTION, Execution, OneOf, SomeOf, joined, total
from mimar.space.space import Space
from mimar.space.structures import Darts, NasBench201, Structure
from mimar.space.trial import Measurement, Proposal, Trial, judged
from mimar.space.walk import of

__all__ = [
    "DARTS_OPERATIONS",
    "EXECUTION",
    "FREE",
    "NASBENCH201_EDGES",
    "NASBENCH201_OPERATIONS",
    "S1",
    "S2",
    "S3",
    "S4",
    "Architecture",
    "Chain",
    "Choice",
    "Darts",
    "Execution",
    "Genotype",
    "Graphs",
    "Measurement",
    "NasBench201",
    "OneOf",
    "Proposal",
    "Residual",
    "SomeOf",
    "Space",
    "Structure",
    "Trial",
    "darts",
    "darts_choices",
    "edge_operations",
    "hamming",
    "hausdorff",
    "joined",
    "judged",
    "modules",
    "nasbench201",
    "of",
    "total",
]
