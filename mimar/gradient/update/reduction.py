"""Options abandoned one by one after fair trials, and gradients on what is left."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mimar.core.errors import UsageError
from mimar.core.ranges import Count, Fraction, validate
from mimar.gradient.hypergradient import Explanation
from mimar.gradient.update.parts import OuterUpdate
from mimar.gradient.update.picks import picks


@dataclass(frozen=True)
class Reduction:
    """Stages of trials, each ending with the worst option of every choice abandoned, until `keep` are left; then `inside`.

        score_o = (1 − mix) · (m_o − min m) / (max m − min m) + mix · √(2 ln Σ n / n_o),    m_o = mean of −loss over n_o trials

    A stage ends when every alive option of every choice was tried `rounds` times in it; trials of earlier stages do not
    count, since the weights were others. The alphas stay until then. Under sampling that is fair the second summand is the
    same for all alive options: it only spares those that were tried less. Afterwards `inside` steps along the gradients,
    with the outer steps that are left.
    Needs samples (`Observed`) and a relaxation that holds "alive/<choice>" and "reduced" (`FairRounds`): raises UsageError
    without. Source: BNAS (Chen et al., 2020), reduction of the operation space, as recalled.
    """

    inside: OuterUpdate
    rounds: Count = 3
    keep: Count = 2
    mix: Fraction = 0.5
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def keeps(self, alphas: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return the trials of the present stage, none yet, and what the other update keeps."""
        found = {"reduction/steps": torch.zeros((), dtype=torch.float64)}
        for i, a in enumerate(alphas):
            zeros = torch.zeros_like(a, requires_grad=False, dtype=torch.float64)
            found |= {f"reduction/{i}/rewards": zeros, f"reduction/{i}/trials": zeros.clone()}
        return found | self.inside.keeps(alphas)

    @torch.no_grad()
    def step(self, alphas: Sequence[Tensor], found: Explanation, held: dict[str, Tensor], steps: int) -> None:
        """Take one of `steps` outer steps, in place in `alphas` or, until the options are reduced, in `held` alone."""
        used, masks = held["reduction/steps"], self._masks(found, held)
        if bool(held["reduced"]):
            self.inside.step(alphas, found, held, max(steps - int(used), 1))
            return
        used += 1
        for options, loss in picks(found, self):
            for i, option in enumerate(options):
                held[f"reduction/{i}/rewards"][option] -= loss
                held[f"reduction/{i}/trials"][option] += 1
        trials = [held[f"reduction/{i}/trials"] for i in range(len(masks))]
        if all(bool((n[mask > 0] >= self.rounds).all()) for n, mask in zip(trials, masks, strict=True)):
            self._close(masks, held)

    def _close(self, masks: list[Tensor], held: dict[str, Tensor]) -> None:
        """End a stage: abandon the worst option of every choice that has more than are kept, and forget the trials."""
        for i, mask in enumerate(masks):
            rewards, trials = held[f"reduction/{i}/rewards"], held[f"reduction/{i}/trials"]
            if int(mask.sum()) > self.keep:
                mask[int(self._scores(rewards, trials, mask > 0).argmin())] = 0.0
            rewards.zero_()
            trials.zero_()
        held["reduced"].fill_(float(all(int(mask.sum()) <= self.keep for mask in masks)))

    def _scores(self, rewards: Tensor, trials: Tensor, alive: Tensor) -> Tensor:
        """Return the score of every option, infinite for those that are abandoned already."""
        means = rewards / trials.clamp_min(1.0)
        low, high = means[alive].min(), means[alive].max()
        merit = (means - low) / (high - low).clamp_min(1e-300)
        bonus = (2.0 * math.log(max(float(trials.sum()), 1.0)) / trials.clamp_min(1.0)).sqrt()
        return ((1.0 - self.mix) * merit + self.mix * bonus).masked_fill(~alive, torch.inf)

    def _masks(self, found: Explanation, held: dict[str, Tensor]) -> list[Tensor]:
        names = [f"alive/{name}" for name in found.names]
        missing = [name for name in [*names, "reduced"] if name not in held]
        if missing or not names:
            raise UsageError(
                f"Reduction needs a relaxation that holds which options are alive, such as FairRounds; "
                f"{missing[0] if missing else 'alive/<choice>'!r} is not held"
            )
        return [held[name] for name in names]
