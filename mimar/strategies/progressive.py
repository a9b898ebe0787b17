"""Search from small to large: measure all architectures of one block, then again and again extend the best by a block.

    stage b    candidates = every extension of the kept prefixes of b − 1 blocks by one block, each class once
               fit the predictor on all that was measured;   measure K of the candidates by their predictions
               keep the K best of the stage

Blocks, and what the blocks not yet decided are meanwhile, are those of `mimar.space.transforms.grow`. A prefix is measured
as the architecture whose other blocks are neutral; an architecture told from outside counts as its shortest prefix.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from mimar.core.quantiles import quantiles
from mimar.core.ranges import Count, NonNegative, Positive, validate
from mimar.core.streams import Draws
from mimar.objectives import utilities
from mimar.predictors.parts import Predictor
from mimar.predictors.sequence import Sequences
from mimar.space import Architecture, Space
from mimar.space.transforms.grow import NEUTRAL, Prefix, blocks
from mimar.strategies.arms import arms, pulled
from mimar.strategies.parts import Proposal, Trial
from mimar.strategies.past import Past

Scored = tuple[Architecture, float]  # a prefix, and its predicted rank in [0, 1]
TRIES = 50  # random architectures that are drawn for one that was not measured


class Candidate(NamedTuple):
    """A prefix, and the architecture as which it is measured."""

    prefix: Architecture
    whole: Architecture


@dataclass(frozen=True)
class Progressive:
    """Growing prefixes under a predictor; see the module's text. `beam`: K; `first`: of one block, at most that many.

    `temperature` T: the K are drawn without replacement by exp(ŷ / T), ŷ the predicted rank in [0, 1]; 0 takes the best.
    It is multiplied by `cooling` at every stage. `span`: decisions, with all that is conditional on them, that make a
    block. `then`: after the last stage, the next best of its candidates ("last"), or all stages once more ("first").
    `reads`: the predictor is given prefixes as they are, or filled in ("wholes"), for one that needs whole graphs.
    `candidates`: extensions that are looked at, a random choice of them where there are more.
    """

    beam: Count = 20
    predictor: Predictor = Sequences()
    first: Count = 256
    temperature: NonNegative = 0.0
    cooling: Positive = 1.0
    span: Count = 1
    then: Literal["last", "first"] = "last"
    reads: Literal["prefixes", "wholes"] = "prefixes"
    candidates: Count = 5_000
    neutral: tuple[str, ...] = NEUTRAL
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def start(self, space: Space, seed: int) -> ProgressiveSearcher:
        """Return a searcher at its beginning."""
        return ProgressiveSearcher(self, space, seed)


def drawn(scores: Sequence[float], k: int, temperature: float, draws: Draws) -> list[int]:
    """Return k different places, or all: drawn one after the other by exp(score / T); at T = 0 the best, best first.

    Perturbed by Gumbel noise and sorted, which is the same as drawing without replacement.
    """
    if temperature == 0.0:
        keys = list(scores)
    else:
        noise = [-math.log(-math.log(max(u, 1e-300))) for u in draws.uniforms(len(scores))]
        keys = [score / temperature + g for score, g in zip(scores, noise, strict=True)]
    return sorted(range(len(keys)), key=lambda i: (-keys[i], i))[:k]


class Stages:
    """The blocks of a space and its prefixes."""

    def __init__(self, space: Space, span: int, neutral: tuple[str, ...]) -> None:
        groups = blocks(space)
        self.space = space
        self.blocks = [sum(groups[i : i + span], ()) for i in range(0, len(groups), span)]
        names = [frozenset(sum(self.blocks[:b], ())) for b in range(len(self.blocks) + 1)]
        self.prefixes = [Prefix(space, held, neutral) for held in names]

    def __len__(self) -> int:
        return len(self.blocks)

    def whole(self, prefix: Architecture) -> Architecture:
        """Fill in neutral values."""
        return self.prefixes[-1].space.complete(prefix, self.prefixes[-1].filled)

    def shortest(self, whole: Architecture, b: int | None = None) -> Architecture:
        """Return the shortest prefix of an architecture that is one of b blocks, all where b is None."""
        b = len(self) if b is None else b
        cut = self._cut(whole, b)
        while b > 0 and self.whole(shorter := self._cut(whole, b - 1)) == whole:
            b, cut = b - 1, shorter
        return cut

    def _cut(self, whole: Architecture, b: int) -> Architecture:
        names = self.prefixes[b].names
        return Architecture.trusted({name: value for name, value in whole.items() if name in names})

    def extensions(self, parents: Sequence[Architecture], b: int, most: int, draws: Draws) -> Iterator[Architecture]:
        """Yield prefixes of b blocks that begin with one of b − 1: all, or `most` random ones where there may be more."""
        block = [self.space[name] for name in self.blocks[b - 1]]
        if len(parents) * math.prod(map(arms, block)) <= most:
            for parent in parents:
                yield from self._filled(dict(parent), b, 0)
            return
        for _ in range(most):
            made = dict(draws.choice(parents))
            for choice in block:
                if choice.active(made):
                    made[choice.name] = pulled(choice, draws.below(arms(choice)), draws.uniform())
            yield Architecture.trusted(made)

    def _filled(self, made: dict[str, Any], b: int, i: int) -> Iterator[Architecture]:
        block = self.blocks[b - 1]
        if i == len(block):
            yield Architecture.trusted(made)
            return
        choice = self.space[block[i]]
        for number in range(arms(choice)) if choice.active(made) else ():
            yield from self._filled({**made, choice.name: pulled(choice, number)}, b, i + 1)
        if not choice.active(made):
            yield from self._filled(made, b, i + 1)


class ProgressiveSearcher:
    """A progressive search at work: its stage, the prefixes that it extends, and those that it keeps of the stage."""

    def __init__(self, part: Progressive, space: Space, seed: int) -> None:
        self.part, self.space = part, space
        self.draws = Draws(seed, "progressive")
        self.stages = Stages(space, part.span, part.neutral)
        self.model = part.predictor.start(space, seed)
        self.past = Past()
        self.forms: set[Architecture] = set()  # canonical forms of what was asked or told
        self.stage, self.rounds = 0, 0  # blocks decided; stages so far, repeated ones too
        self.parents: list[Architecture] = [Architecture({})]
        self.kept: list[Scored] = []
        self.queue: list[tuple[Architecture, str | None]] = []

    def ask(self, n: int, pending: Sequence[Proposal] = ()) -> list[Proposal]:
        """Return n proposals; a stage begins when all of the last one was asked, with the results that are there."""
        return [self._one() for _ in range(n)]

    def _one(self) -> Proposal:
        for _ in range(2 * len(self.stages) + 1):
            if self.queue:
                break
            self._next_stage()
        if not self.queue:
            return Proposal(self._note(self._anywhere()))
        found, parent = self.queue.pop(0)
        return Proposal(self._note(found), None, parent, {"stage": self.stage})

    def _note(self, whole: Architecture) -> Architecture:
        self.forms.add(self.space.canonical(whole))
        return whole

    def _anywhere(self) -> Architecture:
        for _ in range(TRIES):
            found = self.space.sample(self.draws)
            if self.space.canonical(found) not in self.forms:
                break
        return found

    # -- a stage -----------------------------------------------------------------------------------------------------

    def _next_stage(self) -> None:
        """Go on to the next stage and line up what it measures, perhaps nothing."""
        last = self.stage == len(self.stages)
        worth = self._worth()
        if last and self.part.then == "last" and self._line_up(worth):
            return
        if last or not self.stage:
            self.stage, self.parents = 1, [Architecture({})]
        else:
            best = sorted(self.kept, key=lambda s: -worth.get(self._form(s[0]), s[1]))
            self.stage, self.parents = self.stage + 1, [prefix for prefix, _ in best[: self.part.beam]] or self.parents
        self._line_up(worth)

    def _worth(self) -> dict[Architecture, float]:
        """Return the rank of every class that was measured, in [0, 1]."""
        known = self.past.top(2)
        places = quantiles(utilities([k.values for k in known])) if known else ()
        return {self.space.canonical(k.architecture): float(p) for k, p in zip(known, places, strict=True)}

    def _form(self, prefix: Architecture) -> Architecture:
        return self.space.canonical(self.stages.whole(prefix))

    def _line_up(self, worth: Mapping[Architecture, float]) -> bool:
        """Choose among the candidates of the stage; tell whether any is to be measured."""
        part, b = self.part, self.stage
        found: dict[Architecture, Candidate] = {}
        for prefix in self.stages.extensions(self.parents, b, part.candidates, self.draws):
            whole = self.stages.whole(prefix)
            found.setdefault(self.space.canonical(whole), Candidate(prefix, whole))
        fresh = [candidate for form, candidate in found.items() if form not in self.forms]
        scores = self._predicted([c.whole for c in fresh]) if b > 1 else self.draws.uniforms(len(fresh))
        most, temperature = (part.beam, part.temperature * part.cooling**self.rounds) if b > 1 else (part.first, 0.0)
        chosen = drawn(scores, most, temperature, self.draws)
        self.kept = [(c.prefix, worth[form]) for form, c in found.items() if form in worth]
        self.kept += [(fresh[i].prefix, scores[i]) for i in chosen]
        allowed = [fresh[i] for i in chosen if self.space.allows(fresh[i].whole)]
        self.queue = [(c.whole, self._parent(c.prefix)) for c in allowed]
        self.rounds += b > 1 and bool(chosen)
        return bool(self.queue)

    def _parent(self, prefix: Architecture) -> str | None:
        if self.stage == 1:
            return None
        names = self.stages.prefixes[self.stage - 1].names
        return self.stages.whole(Architecture.trusted({n: v for n, v in prefix.items() if n in names})).digest

    def _predicted(self, wholes: Sequence[Architecture]) -> list[float]:
        """Fit what was measured and return the predicted ranks; at random where nothing can be learned."""
        known = self.past.top(2)
        if not wholes or len(known) < 2:
            return self.draws.uniforms(len(wholes))
        y = quantiles(utilities([k.values for k in known]))
        self.model.fit([self._read(k.architecture) for k in known], y.tolist())
        mean, _ = self.model.predict([self._read(whole, self.stage) for whole in wholes])
        found: list[float] = np.asarray(mean).tolist()
        return found

    def _read(self, whole: Architecture, b: int | None = None) -> Architecture:
        return self.stages.shortest(whole, b) if self.part.reads == "prefixes" else whole

    # -- results -----------------------------------------------------------------------------------------------------

    def tell(self, trials: Sequence[Trial]) -> None:
        """Take note of trials; those that failed are not proposed again, and not extended unless nothing else is left."""
        for trial in trials:
            self._note(trial.architecture)
            self.past.add(trial)

    def state_dict(self) -> dict[str, Any]:
        """Return all of it as JSON."""
        return {
            "drawn": self.draws.drawn,
            "stage": self.stage,
            "rounds": self.rounds,
            "parents": [dict(a) for a in self.parents],
            "kept": [[dict(a), score] for a, score in self.kept],
            "queue": [[dict(a), parent] for a, parent in self.queue],
            "forms": sorted((dict(a) for a in self.forms), key=str),
            "past": self.past.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from it."""
        self.draws.drawn, self.stage, self.rounds = (int(state[k]) for k in ("drawn", "stage", "rounds"))
        self.parents = [Architecture(a) for a in state["parents"]]
        self.kept = [(Architecture(a), float(score)) for a, score in state["kept"]]
        self.queue = [(Architecture(a), parent) for a, parent in state["queue"]]
        self.forms = {Architecture(a) for a in state["forms"]}
        self.past.load_state_dict(state["past"])
