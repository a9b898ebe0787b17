"""The bilevel loop: its state, its determinism, what it touches when."""

from __future__ import annotations

import importlib.util
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from mimar.core.errors import MimarError, NonFiniteError, SpaceError, UsageError
from mimar.core.events import Event, Record, Step
from mimar.core.state import State
from mimar.evaluators import Retrain
from mimar.gradient.hypergradient import ConjugateGradient, Neumann, SingleLevel, Unrolled
from mimar.gradient.relax import Softmax
from mimar.recipes import darts_1st, darts_2nd, idarts, random, random_ws
from mimar.search import Bilevel
from mimar.search.budget import baseline_size
from mimar.search.finish import summary


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tiny = load("tiny")


def records(events: list[Event]) -> list[dict[str, Any]]:
    return [e.data for e in events if isinstance(e, Record)]


def finish(search: Any, state: State) -> list[Event]:
    return list(search.events(state))


def equal(a: State, b: State) -> bool:
    return a.json == b.json and {n: t.tolist() for n, t in a.tensors.items()} == {
        n: t.tolist() for n, t in b.tensors.items()
    }


RECIPES = {
    "idarts": idarts.recipe,
    "darts-1st": darts_1st.recipe,
    "darts-2nd": darts_2nd.recipe,
    "random-ws": lambda **o: random_ws.recipe(candidates=3, **o),
}


@pytest.mark.parametrize("name", RECIPES)
def test_resumed_from_any_step_it_ends_the_same(name: str) -> None:
    search = RECIPES[name](**tiny.options(net=tiny.model(), baseline=1, retrain=Retrain(epochs=1, batch=40)))
    state = search.start()
    kept: list[tuple[int, State]] = []
    events: list[Event] = []
    for event in search.events(state):
        events.append(event)
        if isinstance(event, Step):
            kept.append((len(events), state.snapshot()))
    assert json.loads(json.dumps(state.json)) == state.json  # JSON and nothing else
    whole = records(events)
    for at, snapshot in kept[:: max(len(kept) // 4, 1)]:
        rest = records(finish(search, snapshot))
        assert rest == whole[len(records(events[:at])) :]
        assert equal(snapshot, state)


def test_two_runs_are_the_same_and_another_seed_is_not() -> None:
    first, again, other = (
        records(finish(s, s.start()))
        for s in (idarts.recipe(**tiny.options(net=tiny.model(), seed=seed)) for seed in (0, 0, 1))
    )
    assert first == again
    assert first[0]["event"] == "forecast"
    assert first[0]["step_bytes"] > 0
    assert first[-1] != other[-1]


def test_only_weight_steps_move_weights_and_statistics() -> None:
    search = idarts.recipe(**tiny.options(net=tiny.model(), inner_steps=2, epochs=1, batch=10))
    state = search.start()
    calls: list[str] = []
    before: dict[str, torch.Tensor] = {}
    for event in search.events(state):
        if isinstance(event, Record) and event.data["event"] in ("warned", "forecast"):
            continue
        if not isinstance(event, Step) or event.boundary:
            break
        now = {n: t.clone() for n, t in state.tensors.items()}
        if before:
            moved = {n.split("/")[0] for n in now if n in before and not torch.equal(now[n], before[n])}
            calls.append("alphas" if "alphas" in moved else "weights")
            assert {"weights", "buffers"} <= moved
        counts = [int(t) for n, t in now.items() if n.endswith("num_batches_tracked")]
        assert set(counts) == {event.done}  # once per weight step, whatever the hypergradient evaluates
        before = now
    assert calls[:4] == ["alphas", "weights", "alphas", "weights"]


@pytest.mark.parametrize(
    "part",
    [
        Neumann(terms=1, step="auto"),
        Neumann(terms=2, batches="fresh", damping=0.1),
        Neumann(terms=2, curvature="gauss-newton"),
        Neumann(terms=1, mixed="difference"),
        ConjugateGradient(iterations=2, damping=1.0),
        Unrolled(mixed="difference"),
        Unrolled(steps=2),
        SingleLevel(),
    ],
    ids=repr,
)
def test_every_hypergradient_drives_the_loop(part: Any) -> None:
    from dataclasses import replace

    search = replace(idarts.recipe(**tiny.options(net=tiny.model(), epochs=1, inner_steps=2)), hypergradient=part)
    state = search.start()
    before = state.snapshot().group("alphas")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        steps = [e for e in until_derived(search, state) if isinstance(e, Step)]
    assert steps
    after = state.snapshot().group("alphas")
    assert any(not torch.equal(before[n], after[n]) for n in before)


def until_derived(search: Bilevel, state: State) -> Iterator[Event]:
    for event in search.events(state):
        yield event
        if isinstance(event, Step) and event.boundary:
            return


def test_warmup_keeps_the_alphas() -> None:
    search = idarts.recipe(**tiny.options(net=tiny.model(), epochs=2, warmup=1, inner_steps=1))
    state = search.start()
    start = state.snapshot().group("alphas")
    for _ in until_derived(search, state):
        pass
    assert all(torch.equal(start[n], t) for n, t in state.group("alphas").items())
    for _ in until_derived(search, state):
        pass
    assert any(not torch.equal(start[n], t) for n, t in state.group("alphas").items())


def test_the_baseline_is_the_random_recipe() -> None:
    ours = records(finish(s := idarts.recipe(**tiny.options(net=tiny.model(), epochs=1)), s.start()))
    drawn = {
        k: v for k, v in tiny.options(net=tiny.model(), queries=2).items() if k not in ("epochs", "batch", "baseline")
    }
    theirs = records(finish(s2 := random.recipe(**drawn), s2.start()))
    of_random = [[r for r in one if str(r.get("network", "")).startswith("random")] for one in (ours, theirs)]
    assert of_random[0] == of_random[1] and len(of_random[0]) > 2
    assert ours[-1]["result"]["baseline"] == theirs[-1]["result"]["baseline"]
    assert theirs[-1]["result"]["baseline"]["random"]["n"] == 2


def test_a_baseline_beside_random_search_is_drawn_apart() -> None:
    drawn = {k: v for k, v in tiny.options(net=tiny.model()).items() if k not in ("epochs", "batch", "baseline")}
    alone = records(finish(s := random.recipe(queries=1, **drawn), s.start()))[-1]["result"]
    beside = records(finish(s2 := random.recipe(queries=1, baseline=2, **drawn), s2.start()))[-1]["result"]
    assert beside["metrics"] == alone["metrics"]
    assert beside["baseline"]["random"]["n"] == 2
    assert alone["baseline"]["random"]["n"] == 1
    assert beside["evaluations"] == 3


def test_the_best_is_chosen_by_validation() -> None:
    trained = [{"metrics": {"valid_accuracy": v, "test_accuracy": t}} for v, t in ((0.5, 0.9), (0.8, 0.4), (0.8, 0.7))]
    found = summary(trained)
    assert found["n"] == 3
    assert found["best"] == 0.4
    assert found["mean"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("search", "retraining", "n"), [(0, 1, 3), (1, 1, 3), (2, 1, 3), (2.1, 1, 4), (9.0, 1.0, 10), (5, 0, 3)]
)
def test_the_baseline_costs_what_the_search_cost(search: float, retraining: float, n: int) -> None:
    assert baseline_size(search, retraining) == n


def test_the_budget_counts_every_pass() -> None:
    search = idarts.recipe(**tiny.options(net=tiny.model(), epochs=2, inner_steps=2, terms=2, baseline=0))
    found = records(finish(search, search.start()))[-1]["result"]["budget"]["search"]
    lab = search.lab()
    inner = 2 * (lab.data.size("train") // 20)
    outer = inner // 2
    passes = 20 * (3 * inner + (3 + 3 + 4 * 3) * outer) + 2 * lab.data.size("valid")
    assert found == passes * lab.supernet_macs


def test_a_loss_that_is_not_finite_is_named() -> None:
    search = idarts.recipe(**tiny.options(net=tiny.model(), lr=1e18))
    with pytest.raises(NonFiniteError, match=r"training loss became .* step \d+"):
        finish(search, search.start())


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"device": "cuda:7"}, UsageError, "not available"),
        ({"batch": 500}, MimarError, "make it smaller"),
        ({"net": torch.nn.Linear(3, 3)}, SpaceError, "has no choices"),
        ({"net": "nasbench301"}, UsageError, "nasbench201"),
        ({"task": "digit"}, UsageError, "digits"),
        ({"task": 7}, MimarError, "give a task's name"),
        ({"terms": -2}, UsageError, "at least -1"),
        ({"epochs": 0}, UsageError, "at least 1"),
        ({"retrain": Retrain(auxiliary=0.4)}, UsageError, "auxiliary"),
    ],
)
def test_bad_input_gives_one_sentence(options: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text) as caught:
        finish(search := idarts.recipe(**tiny.options(**options)), search.start())
    assert "\n" not in str(caught.value)


def test_retrained_in_a_larger_net_of_the_same_space() -> None:
    larger = Retrain(epochs=1, batch=40, net="nasbench201:cells=1,channels=4")
    search = idarts.recipe(**tiny.options(epochs=1, baseline=1, retrain=larger))
    small = idarts.recipe(**tiny.options(epochs=1, baseline=1, retrain=Retrain(epochs=1, batch=40)))
    ours, theirs = (records(finish(s, s.start()))[-1]["result"] for s in (search, small))
    assert ours["architecture"] == theirs["architecture"]
    assert ours["metrics"]["params"] > 2 * theirs["metrics"]["params"]
    other = idarts.recipe(**tiny.options(epochs=1, retrain=Retrain(net="s2:cells=3,channels=4")))
    with pytest.raises(SpaceError, match="other choices"):
        finish(other, other.start())


def test_a_relaxation_knows_whose_loss_its_gates_are_for(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, gates = [], Softmax.gates

    def spy(self: Softmax, alphas: Any, ctx: Any) -> Any:
        seen.append(ctx.scope if ctx.training else "none")
        return gates(self, alphas, ctx)

    monkeypatch.setattr(Softmax, "gates", spy)
    search = darts_1st.recipe(net="nasbench201-small:channels=2", task="digits:limit=100", epochs=1)
    events = search.events(search.start())
    next(event for event in events if isinstance(event, Step))
    training = [scope for scope in seen if scope != "none"]
    assert training[0] == "inner" and "outer" in training  # the weight step, then the alpha step
