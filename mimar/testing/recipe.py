"""The laws of recipes: expressions that name their paper, and searches that stop and go on without a trace."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import ModuleType
from typing import Any, get_args

import torch
from torch import nn

from mimar.core import ranges
from mimar.core.describe import describe, digest, rebuild
from mimar.core.errors import MimarError
from mimar.core.events import Record, Step
from mimar.core.paper import Paper
from mimar.core.state import State
from mimar.core.streams import stream
from mimar.evaluators import Retrain
from mimar.tasks import arrays
from mimar.testing.expect import expect, same_bits, untouched
from mimar.testing.problems import tiny_model

TIERS = ("smoke", "unit", "toy", "table", "paper")
RESERVED = ("net", "task", "seed", "device", "baseline")
TINY = {"epochs": 2, "batch": 16, "queries": 2, "candidates": 3, "inner_steps": 1, "baseline": 1}
TINY |= {"iterations": 3, "steps": 3, "imitate": 2, "every": 1}  # of recipes that have such keywords


def check_recipe(
    recipe: str | ModuleType,
    *,
    options: Mapping[str, Any] | None = None,
    net: nn.Module | str | None = None,
    task: Any = None,
    stops: int = 5,
) -> None:
    """Raise AssertionError where a recipe, by name or as a module, breaks a law.

    The module has PAPER, DIFFERS and TIER, and functions `recipe…` whose body is one return; each builds with the
    reserved keywords and without, its description rebuilds to the same hash, and every keyword changes it; a search on a
    tiny task (or `net`, `task` and `options` of your own) ends with a result, twice the same, and stopped at `stops`
    different steps and continued from the state kept there it gives the same records and the same final state, bit for
    bit. Nothing global is drawn from.
    """
    name = recipe if isinstance(recipe, str) else recipe.__name__.rpartition(".")[2]
    module = importlib.import_module(f"mimar.recipes.{name.replace('-', '_')}") if isinstance(recipe, str) else recipe
    _labels(module, name)
    _expressions(module, name)
    for variant, build in _variants(module):
        label = name if variant == "recipe" else f"{name}:{variant.removeprefix('recipe_')}"
        _describes(build, label)
        _every_keyword_counts(build, label)
        known = inspect.signature(build).parameters
        small = {k: v for k, v in {**TINY, "retrain": Retrain(epochs=1, batch=16)}.items() if k in known}
        given = {"net": net or tiny_model().float(), "task": task or tiny_task(), **small, **(options or {})}
        with untouched(f"the search {label}", {}):
            _resumes(partial(build, **given), label, stops)


def tiny_task(seed: int = 0) -> Any:
    """Return 80 images (1, 5, 5) of four classes that can be learned, as a task in memory."""
    rng = stream(seed, "tiny task")
    y = torch.arange(80) % 4
    x = 0.5 * torch.randn(80, 1, 5, 5, generator=rng)
    x[torch.arange(80), 0, y, :] += 2.0
    return arrays(x, y)


def _variants(module: ModuleType) -> Iterator[tuple[str, Callable[..., Any]]]:
    for name, value in vars(module).items():
        if inspect.isfunction(value) and name.split("_")[0] == "recipe" and value.__module__ == module.__name__:
            yield name, value


def _labels(module: ModuleType, name: str) -> None:
    paper, tier = getattr(module, "PAPER", None), getattr(module, "TIER", None)
    differs: Any = getattr(module, "DIFFERS", None)
    expect(isinstance(paper, Paper), f"{name} has no PAPER, a mimar.core.paper.Paper that says where it comes from")
    expect(isinstance(differs, tuple), f"{name} has no DIFFERS, a tuple of sentences on how it departs from its paper")
    expect(all(isinstance(d, str) and d for d in differs), f"DIFFERS of {name} holds something else than sentences")
    expect(tier in TIERS, f"TIER of {name} is {tier!r}; it must be one of {', '.join(TIERS)}")
    expect(bool(inspect.getdoc(module)), f"{name} has no docstring that says what the method is")


def _expressions(module: ModuleType, name: str) -> None:
    tree = ast.parse(inspect.getsource(module))
    functions = [n for n in tree.body if isinstance(n, ast.FunctionDef)]
    expect(any(f.name == "recipe" for f in functions), f"{name} has no function called recipe")
    for function in functions:
        body = function.body[1:] if ast.get_docstring(function) else function.body
        single = len(body) == 1 and isinstance(body[0], ast.Return)
        expect(single, f"the body of {name}.{function.name} is not one return; a statement in it is a missing part")


def _described(build: Callable[..., Any], **more: Any) -> str:
    return digest(describe(build(**more)))


def _describes(build: Callable[..., Any], label: str) -> None:
    parameters = inspect.signature(build).parameters
    positional = [p.name for p in parameters.values() if p.kind is not p.KEYWORD_ONLY]
    expect(not positional, f"{label} takes {positional} by position; options of a recipe are keywords only")
    missing = [k for k in RESERVED if k not in parameters]
    expect(not missing, f"{label} lacks the reserved keywords {', '.join(missing)}")
    for more in ({}, {"net": "nasbench201-small", "task": "digits", "seed": 3, "baseline": 0}):
        search = build(**more)
        tree = json.loads(json.dumps(describe(search)))
        again = rebuild(tree)
        expect(digest(describe(again)) == digest(tree), f"{label} rebuilt from its description has another hash")
        expect(again == search, f"{label} rebuilt from its description is another search")


def _every_keyword_counts(build: Callable[..., Any], label: str) -> None:
    hints, plain = ranges.hints(build), _described(build)
    for name, parameter in inspect.signature(build).parameters.items():
        changed = _changed(build, name, parameter.default, hints.get(name))
        expect(changed is not None, f"no other value of {label}.{name} was found that builds; is its annotation right?")
        expect(changed != plain, f"{label}.{name} changes nothing: its description is the same under another value")


def _changed(build: Callable[..., Any], name: str, default: Any, hint: Any) -> str | None:
    """Return the hash under another value of one keyword, or None when no value is accepted."""
    for value in _others(name, default, hint):
        if value == default and type(value) is type(default):
            continue
        if hint is not None and not ranges.fits(value, hint):
            continue
        try:
            return _described(build, **{name: value})
        except MimarError:
            continue
    return None


def _others(name: str, default: Any, hint: Any) -> Iterator[Any]:
    given = {
        "net": "darts-small",
        "task": "fashion-mnist",
        "seed": 7,
        "device": "cuda",
        "baseline": 5,
        "scores": "snip",
        "tune": "lr=0.02|0.2",
    }
    if name in given:
        yield given[name]
    if isinstance(default, bool):
        yield not default
    elif isinstance(default, int | float):
        yield from (default + 1, default * 0.5, default + 0.01, default - 1)
    elif dataclasses.is_dataclass(default) and not isinstance(default, type):
        for field in dataclasses.fields(default):
            value = getattr(default, field.name)
            if isinstance(value, int | float) and not isinstance(value, bool):
                yield dataclasses.replace(default, **{field.name: value + 1})
    yield from (a for a in _words(hint) if isinstance(a, str))
    yield from (2, 0.5, True, "other")


def _words(hint: Any) -> Iterator[Any]:
    for argument in get_args(hint):
        yield argument
        yield from _words(argument)


def _resumes(build: Callable[[], Any], label: str, stops: int) -> None:
    records, states, last = _run(build, build().start(), label)
    results = [r for r in records if r["event"] == "finished"]
    expect(len(results) == 1, f"{label} ended with {len(results)} records of the kind 'finished'; it must be one")
    at = sorted({round(i * (len(states) - 1) / max(stops - 1, 1)) for i in range(stops)})
    _, again, _ = _run(build, build().start(), label, keep=at)
    for i in at:
        seen, state = again[i]
        rest, _, end = _run(build, state.snapshot(), label)
        where = f"{label}, stopped at step {i + 1} of {len(states)} (phase {state.json.get('phase')!r}) and continued,"
        expect(_text(records[:seen] + rest) == _text(records), f"{where} gave other records than without stopping")
        expect(_text([end.json]) == _text([last.json]), f"{where} ended in another state")
        same = end.tensors.keys() == last.tensors.keys()
        same = same and all(same_bits(end.tensors[n], t) for n, t in last.tensors.items())
        expect(same, f"{where} ended with other tensors; they must agree in every bit")


def _run(
    build: Callable[[], Any], state: State, label: str, keep: list[int] | None = None
) -> tuple[list[dict[str, Any]], dict[int, tuple[int, State]], State]:
    """Run to the end; return the records, {step: (records before it, state there)} and the final state."""
    records: list[dict[str, Any]] = []
    states: dict[int, tuple[int, State]] = {}
    number = 0
    for event in build().events(state):
        if isinstance(event, Record):
            records.append(event.data)
        else:
            expect(isinstance(event, Step), f"{label} yielded {type(event).__name__}; events are Step and Record")
            kept = keep is not None and number in keep
            states[number] = (len(records), state.snapshot() if kept else State())
            number += 1
    return records, states, state


def _text(data: list[Any]) -> str:
    return json.dumps(data, sort_keys=True)
