"""What updates share that learn from the losses of sampled architectures."""

from __future__ import annotations

from collections.abc import Iterator

from mimar.core.errors import UsageError
from mimar.gradient.hypergradient import Explanation


def picks(found: Explanation, part: object) -> Iterator[tuple[list[int], float]]:
    """Yield, for each sample, the option of each alpha (the largest gate) and the loss.

    Raises UsageError where the hypergradient gave no samples or no names of the alphas.
    """
    if not (found.samples and found.names):
        raise UsageError(
            f"{type(part).__name__} learns from the losses of sampled architectures, and the hypergradient gave none; "
            "use Sampled(), or Observed(...) around another"
        )
    for gates, loss in found.samples:
        yield [int(gates[name].argmax()) for name in found.names], loss
