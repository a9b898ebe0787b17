"""A Gaussian process over pairs of an architecture x and a resource r, in which results still to come can be fantasised.

    k((x, r), (x', r')) = a M(d) M(δ) + b M(δ),    M(d) = (1 + √5 d + 5/3 d²) exp(−√5 d)
    d² = Σ_c |x_c − x'_c|² / (2 ℓ_c²) over the choices, one-hot (sizes and values: their place in the range);  δ = |ln r/r'| / ρ

The second term is a level of its own for each resource: those that went on are no random sample. y is in standard units.
ℓ, ρ, a, b and the noise are the most probable ones, under log-normal priors that are wide. Rasmussen and Williams, 2006,
equations 2.25, 2.26, 4.17 and 5.9; Klein et al., "Model-based Asynchronous Hyperparameter and Neural Architecture Search".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple

import numpy as np

from mimar.core.ranges import Count, Range, validate
from mimar.predictors.columns import Columns
from mimar.predictors.parts import Array, Prediction, Scale, checked
from mimar.space import Architecture, Space

JITTER = 1e-8
FAR = 4.0  # how far from the middle of its prior, in units of the natural logarithm, a parameter may go
RATIO, LEVELS, FAR_LEVELS = 2.0, 1.0, 2.0  # middle of ρ; of a and b; prior deviation of ln b


@dataclass(frozen=True)
class ResourceProcess:
    """The process before it has seen anything. `noise`: the middle of its prior, in variance; `steps`: of its fitting."""

    noise: Annotated[float, Range(1e-6, 1.0)] = 0.05
    steps: Count = 50
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def start(self, space: Space) -> ResourcePosterior:
        """Return a model that has learned nothing."""
        return ResourcePosterior(self, space)


class Data(NamedTuple):
    """What is conditioned on: codes (N, D), ln r (N,), y in standard units (N, S) for S fantasies, and what follows."""

    codes: Array
    logs: Array
    y: Array
    lower: Array  # Cholesky factor of K + noise, (N, N)
    weights: Array  # (K + noise)⁻¹ y, (N, S)


class ResourcePosterior:
    """The process at work. `parameters`: natural logarithms of ℓ (C), ρ, a, b, noise; they may be given to `fit` again."""

    def __init__(self, part: ResourceProcess, space: Space) -> None:
        self.part, self.columns = part, Columns(space, sizes="number")
        names = {choice.name: i for i, choice in enumerate(space.ordered)}
        self.groups = np.array([names[column.choice] for column in self.columns.names], dtype=int)  # (D,)
        self.weight = np.array([1.0 if column.option is None else 0.5 for column in self.columns.names])  # (D,)
        count = len(names)
        self.middle = np.array([0.5 * np.log(max(count, 1))] * count + [np.log(RATIO), 0.0, 0.0, np.log(part.noise)])
        self.spread = np.array([1.0] * count + [LEVELS, LEVELS, FAR_LEVELS, 1.5])
        self.parameters = self.middle
        self.scale = Scale(0.0, 1.0)
        self.data: Data | None = None

    def fit(
        self,
        architectures: Sequence[Architecture],
        resources: Sequence[float],
        y: Sequence[float],
        parameters: Sequence[float] | None = None,
    ) -> None:
        """Condition on y (N,) at resources above 0; without `parameters` choose them first, from where they are.

        Raises DataError where there is nothing, or y is not finite.
        """
        values, self.scale = checked(architectures, y)
        codes, logs, target = self.columns(architectures), np.log(np.asarray(resources, float)), self.scale.of(values)
        if parameters is None:
            self._choose(codes, logs, target)
        else:
            self.parameters = np.asarray(parameters, dtype=float)
        self.data = self._conditioned(codes, logs, target[:, None])

    def predict(self, architectures: Sequence[Architecture], resources: Sequence[float]) -> Prediction:
        """Return mean and standard deviation, without noise: (M,) each, the mean (M, S) where S > 1 fantasies were added."""
        from scipy.linalg import solve_triangular

        data = self._data
        codes, logs = self.columns(architectures), np.log(np.asarray(resources, dtype=float))
        cross = self.kernel(codes, logs, data.codes, data.logs)  # (M, N)
        half = solve_triangular(data.lower, cross.T, lower=True)  # (N, M)
        _, _, a, b, _ = self._split(self.parameters)
        variance = np.maximum(a + b - np.square(half).sum(0), 1e-12)
        mean = self.scale.mean + self.scale.std * (cross @ data.weights)
        return mean[:, 0] if mean.shape[1] == 1 else mean, self.scale.std * np.sqrt(variance)

    def fantasise(self, architectures: Sequence[Architecture], resources: Sequence[float], z: Array) -> None:
        """Add results to come, drawn from what is known: (P,) pairs, z (P, S) standard normal numbers; S fantasies.

        Where the S numbers of each pair have the mean 0, the mean over fantasies stays what it was, everywhere.
        """
        data, codes, logs = self._data, self.columns(architectures), np.log(np.asarray(resources, dtype=float))
        mean, cov = self._joint(codes, logs)
        drawn = mean[:, None] + np.linalg.cholesky(cov) @ z  # (P, S)
        y = np.concatenate([np.repeat(data.y, z.shape[1], axis=1), drawn])
        self.data = self._conditioned(np.concatenate([data.codes, codes]), np.concatenate([data.logs, logs]), y)

    def kernel(self, codes: Array, logs: Array, others: Array, other_logs: Array) -> Array:
        """Return k between (M, D) codes at (M,) ln r and (N, D) codes at (N,) ln r: (M, N)."""
        lengths, ratio, a, b, _ = self._split(self.parameters)
        level = matern(np.square((logs[:, None] - other_logs) / ratio))[0]
        found: Array = a * matern(self._apart(codes, others, lengths))[0] * level + b * level
        return found

    def _joint(self, codes: Array, logs: Array) -> tuple[Array, Array]:
        """Return mean and covariance of results, noise included, in standard units."""
        from scipy.linalg import solve_triangular

        data = self._data
        cross = self.kernel(codes, logs, data.codes, data.logs)
        half = solve_triangular(data.lower, cross.T, lower=True)
        cov = self.kernel(codes, logs, codes, logs) - half.T @ half
        return cross @ data.weights[:, 0], cov + (np.exp(self.parameters[-1]) + JITTER) * np.eye(len(codes))

    def _conditioned(self, codes: Array, logs: Array, y: Array) -> Data:
        from scipy.linalg import cho_solve

        noise = np.exp(self.parameters[-1]) + JITTER
        lower = np.linalg.cholesky(self.kernel(codes, logs, codes, logs) + noise * np.eye(len(codes)))
        return Data(codes, logs, y, lower, cho_solve((lower, True), y))

    @property
    def _data(self) -> Data:
        assert self.data is not None, "fit comes first"
        return self.data

    def _split(self, parameters: Array) -> tuple[Array, float, float, float, float]:
        count = len(parameters) - 4
        ratio, a, b, noise = np.exp(parameters[count:]).tolist()
        return np.exp(parameters[:count]), ratio, a, b, noise

    def _apart(self, codes: Array, others: Array, lengths: Array) -> Array:
        """Return d², (M, N)."""
        scale = np.sqrt(self.weight) / lengths[self.groups]
        p, q = codes * scale, others * scale
        found: Array = np.maximum(np.square(p).sum(1)[:, None] + np.square(q).sum(1) - 2 * p @ q.T, 0.0)
        return found

    def _choose(self, codes: Array, logs: Array, y: Array) -> None:
        from scipy.optimize import minimize

        bounds = [(m - FAR, m + FAR) for m in self.middle]
        options = {"maxiter": self.part.steps}
        found = minimize(self.cost, self.parameters, (codes, logs, y), "L-BFGS-B", True, bounds=bounds, options=options)
        self.parameters = found.x

    def cost(self, parameters: Array, codes: Array, logs: Array, y: Array) -> tuple[float, Array]:
        """Return −log p(y, parameters) without its constant, and its gradient: ½ yᵀA⁻¹y + ½ log|A| + ½ |u|², A = K + noise."""
        from scipy.linalg import cho_solve

        lengths, ratio, a, b, noise = self._split(parameters)
        gap = np.square((logs[:, None] - logs) / ratio)
        (like, slope), (level, fall) = matern(self._apart(codes, codes, lengths)), matern(gap)
        lower = np.linalg.cholesky(a * like * level + b * level + (noise + JITTER) * np.eye(len(y)))
        inverse = cho_solve((lower, True), np.eye(len(y)))
        alpha = inverse @ y
        pull = 0.5 * (inverse - np.outer(alpha, alpha))  # ∂/∂A
        near = a * pull * level * slope  # ∂/∂d²
        moved = codes * (np.sqrt(self.weight) / lengths[self.groups])
        sums = 2 * (near.sum(1) @ np.square(moved) - ((near @ moved) * moved).sum(0))  # (D,): Σ near · one column of d²
        grown = np.bincount(self.groups, -2 * sums, len(lengths))
        far = -2 * (pull * (a * like + b) * fall * gap).sum()
        shares = [(a * pull * like * level).sum(), (b * pull * level).sum(), noise * np.trace(pull)]
        u = (parameters - self.middle) / self.spread
        cost = 0.5 * y @ alpha + np.log(np.diag(lower)).sum() + 0.5 * u @ u
        return float(cost), np.concatenate([grown, [far, *shares]]) + u / self.spread


def matern(square: Array) -> tuple[Array, Array]:
    """Return the Matérn-5/2 function of a squared distance, and its derivative by that."""
    d = np.sqrt(5.0 * square)
    e = np.exp(-d)
    return (1.0 + d + d * d / 3.0) * e, -5.0 / 6.0 * (1.0 + d) * e
