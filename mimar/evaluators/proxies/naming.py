"""Scores by name, as the command line writes them: "synflow", "regions:points=32"."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mimar.core.errors import UsageError, nearest
from mimar.core.reading import part
from mimar.evaluators.proxies.expressivity import GaussianComplexity
from mimar.evaluators.proxies.fisher import FisherInformation
from mimar.evaluators.proxies.flow import SynapticFlow
from mimar.evaluators.proxies.gradients import ConnectionSensitivity, GradientFlow, GradientNorm, SignedSensitivity
from mimar.evaluators.proxies.jacobian import ClassJacobians, JacobianCovariance
from mimar.evaluators.proxies.parts import Proxy
from mimar.evaluators.proxies.patterns import ActivationKernel, LinearRegions
from mimar.evaluators.proxies.similarity import TeacherSimilarity
from mimar.evaluators.proxies.sizes import Operations, Parameters, WeightNorm
from mimar.evaluators.proxies.tangent import TangentCondition

PROXIES: dict[str, type[Any]] = {
    "diswot": TeacherSimilarity,
    "epe_nas": ClassJacobians,
    "fisher": FisherInformation,
    "grad_norm": GradientNorm,
    "grasp": GradientFlow,
    "jacob_cov": JacobianCovariance,
    "l2_norm": WeightNorm,
    "macs": Operations,
    "naswot": ActivationKernel,
    "ntk": TangentCondition,
    "params": Parameters,
    "plain": SignedSensitivity,
    "regions": LinearRegions,
    "snip": ConnectionSensitivity,
    "synflow": SynapticFlow,
    "zen": GaussianComplexity,
}


def names() -> tuple[str, ...]:
    """Return the names that `named` knows."""
    return tuple(PROXIES)


def named(given: str | Proxy) -> Proxy:
    """Return a score given as itself or by name, with its fields after a colon; raises UsageError naming the nearest."""
    if not isinstance(given, str):
        if not (callable(given) and hasattr(given, "direction") and hasattr(given, "passes")):
            raise UsageError(f"a proxy is a part of mimar.evaluators.proxies or a name of one, not {given!r}")
        return given
    name, _, rest = given.partition(":")
    name = name.strip().lower().replace("-", "_")
    if name not in PROXIES:
        raise UsageError(nearest(name, PROXIES, kind="proxy"))
    found: Proxy = part(PROXIES[name], rest, name)
    return found


def labels(given: Iterable[str | Proxy]) -> tuple[str, ...]:
    """Return the names of scores: their own, else that of their class."""
    kinds = {kind: name for name, kind in PROXIES.items()}
    words = [p.partition(":")[0] if isinstance(p, str) else kinds.get(type(p), type(p).__name__) for p in given]
    return tuple(w.strip().lower().replace("-", "_") for w in words)
