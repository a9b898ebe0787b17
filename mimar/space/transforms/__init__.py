"""From one space to another: smaller, split, multiplied, grown, poisoned, typed; with the ways of architectures between them."""

from mimar.space.transforms.grow import NEUTRAL, Grow, blocks, neutral
from mimar.space.transforms.image import Image, Transform, Ways, chain
from mimar.space.transforms.poison import Merge, Poison
from mimar.space.transforms.product import Product
from mimar.space.transforms.prune import Active, Not, Partition, Prune, Restrict, Split, Without, weakest
from mimar.space.transforms.typed import Edge, Operation, Wiring, adapter, classes, exchange, wiring_of

__all__ = [
    "NEUTRAL",
    "Active",
    "Edge",
    "Grow",
    "Image",
    "Merge",
    "Not",
    "Operation",
    "Partition",
    "Poison",
    "Product",
    "Prune",
    "Restrict",
    "Split",
    "Transform",
    "Ways",
    "Wiring",
    "Without",
    "adapter",
    "blocks",
    "chain",
    "classes",
    "exchange",
    "neutral",
    "weakest",
    "wiring_of",
]
