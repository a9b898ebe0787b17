"""The derivation that asks the supernet what it would miss."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from mimar.core.events import Event, Record, Step
from mimar.core.ranges import Whole, validate
from mimar.gradient.derive.parts import Bench, Derivation, Process
from mimar.gradient.derive.strongest import Strongest
from mimar.space import Architecture, Choice, Space
from mimar.supernet import Gates


@dataclass(frozen=True)
class Perturbation:
    """Each choice keeps the option without which the trained supernet does worst.

        o* = argmin_o score(gates with p_o = 0),    over the options that may be derived

    The choices come in random order; each is then decided (one-hot) and weights and alphas train on for `tune` epochs.
    After them the choices of kind `some`, in random order too: again and again the candidate without which the supernet
    does best is removed, until k are left, and the supernet tuned. Ties go to the earlier option. `renormalise`: the
    gates that stay are scaled to the sum that there was. During the search, and where constraints forbid the outcome,
    the gates are read by `inside`. What survives a kill: {"fixed", "left", "scores", "tuning", "done"} in `bench.held`.
    Source: DARTS-PT (Wang et al., ICLR 2021). Its release decides one edge of the normal and one of the reduction cell
    between tunings, asks for the loss of `none` too, and has one cosine for all tunings together.
    """

    tune: Whole = 5
    inside: Derivation = Strongest()
    renormalise: bool = False
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, space: Space, gates: Mapping[str, Tensor]) -> Architecture:
        """Return the architecture that the sizes of the gates suggest: what the search shows while it runs."""
        return self.inside(space, gates)

    def process(self, bench: Bench) -> Process:
        """Derive with the trained supernet: a generator of events, returning the architecture."""
        held, order = bench.held, _order(bench)
        start: dict[str, Any] = {"fixed": {}, "left": None, "scores": [], "tuning": None, "done": 0}
        for key, value in start.items():
            held.setdefault(key, value)
        total = sum(_looks(c) for c in order)
        for choice in order:
            if choice.name not in held["fixed"]:
                yield from self._decide(bench, choice, total)
                if self.tune and choice is not order[-1]:  # after the last one nothing is left to ask
                    held["tuning"] = choice.name
                yield Record({"event": "decided", "choice": choice.name, "option": held["fixed"][choice.name]})
                yield Step("derive", choice.name, held["done"], total, boundary=True)
            if held["tuning"] == choice.name:
                yield from bench.tune(self.tune, _options(held["fixed"]))
                held["tuning"] = None
                yield Step("derive", choice.name, held["done"], total, boundary=True)
        return self.inside(bench.space, self._gates(bench))

    def _decide(self, bench: Bench, choice: Choice, total: int) -> Iterator[Event]:
        """Decide one choice: remove options until as many are left as it takes, or keep the one that is missed most."""
        held, some = bench.held, choice.kind == "some"
        left = held["left"] = held["left"] or list(choice.allowed)
        while len(left) > choice.k:
            yield from self._scores(bench, choice, total)
            scores = held["scores"]
            if some:
                left.pop(scores.index(max(scores)))
            else:
                left[:] = [left[scores.index(min(scores))]]
            held["scores"] = []
        held["fixed"][choice.name] = left if some else left[0]
        held["left"] = None

    def _scores(self, bench: Bench, choice: Choice, total: int) -> Iterator[Event]:
        """Score the supernet without each of the options that are left, one after the other."""
        held = bench.held
        for option in held["left"][len(held["scores"]) :]:
            found = bench.score(self._without(bench, choice, option))
            held["scores"].append(found)
            held["done"] += 1
            yield Step("derive", choice.name, held["done"], total, {"score": found})

    def _without(self, bench: Bench, choice: Choice, option: Any) -> Gates:
        gates = self._gates(bench)
        gate = gates[choice.name].clone()
        if choice.kind == "some" and choice.name not in bench.held["fixed"]:
            gone = [o not in bench.held["left"] for o in choice.options]
            gate[torch.tensor(gone).to(gate.device)] = 0.0
        whole = gate.sum()
        gate[choice.options.index(option)] = 0.0
        if self.renormalise and float(gate.sum()) != 0.0:
            gate = gate * (whole / gate.sum())
        gates[choice.name] = gate
        gates.only(
            choice.name, tuple(o != option and float(g) != 0.0 for o, g in zip(choice.options, gate, strict=True))
        )
        return gates

    def _gates(self, bench: Bench) -> Gates:
        """Return the present gates with what is decided as one-hot or k-hot constants."""
        active = getattr(bench.gates, "active", None)
        found = Gates({name: gate.detach() for name, gate in bench.gates.items()}, active)
        for name, option in bench.held["fixed"].items():
            chosen = option if isinstance(option, list) else [option]
            row = [float(o in chosen) for o in bench.space[name].options]
            found[name] = torch.tensor(row).to(found[name])
            found.active[name] = tuple(map(bool, row))  # whatever a mixer makes of a gate of zero
        return found


def _order(bench: Bench) -> list[Choice]:
    """Return the choices that leave one, in the order of their decision: at random, those of kind `some` last."""
    open_ = [c for c in bench.space.choices if c.name in bench.gates and _looks(c)]
    ones, several = [c for c in open_ if c.kind != "some"], [c for c in open_ if c.kind == "some"]
    return [
        group[i]
        for name, group in (("choices", ones), ("candidates", several))
        for i in torch.randperm(len(group), generator=bench.rng(name)).tolist()
    ]


def _looks(choice: Choice) -> int:
    """Return how many scores the decision of a choice needs: none where there is nothing to decide."""
    n = len(choice.allowed) if choice.kind != "value" else 0
    return sum(range(choice.k + 1, n + 1)) if choice.kind == "some" else n * (n > 1)


def _options(fixed: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(option) if isinstance(option, list) else option for name, option in fixed.items()}
