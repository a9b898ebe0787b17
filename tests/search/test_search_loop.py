"""What the loop does for schedules that stop and go back, phases, joint steps, a second copy, and derivations that train."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from mimar.core.errors import UsageError
from mimar.core.events import Event, Record, Step
from mimar.core.optimisers import Sgd
from mimar.core.state import State
from mimar.core.streams import stream
from mimar.evaluators import Retrain
from mimar.gradient.derive import Bench, Process, Strongest
from mimar.gradient.hypergradient import FirstOrder, Relaxed, SingleLevel
from mimar.gradient.mix import MaxW
from mimar.gradient.regularise import (
    AlphaDecay,
    Distil,
    GeneralisationGap,
    LossScale,
    Moment,
    Tether,
    View,
    WeightDecay,
)
from mimar.gradient.relax import Adversarial, Box, Context, Gates, PathDrop, Softmax, SparseNoisy, entropy
from mimar.gradient.schedule import Alternate, History, Phase, Rollback, Stop
from mimar.gradient.update import Adam
from mimar.recipes import darts_1st
from mimar.search import Bilevel, Levels
from mimar.search.loop import Loop
from mimar.search.losses import BatchLoss, decide
from mimar.search.twin import Twin
from mimar.space import Choice, Space


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tiny = load("tiny")


def search(**more: Any) -> Bilevel:
    base = darts_1st.recipe(**tiny.options(net=tiny.model(), baseline=0, retrain=Retrain(epochs=1, batch=40)))
    return replace(base, **more)


def ran(made: Bilevel, until: str = "retrain") -> tuple[State, list[dict[str, Any]], list[tuple[State, Step]]]:
    """Return the state when the phase begins, all records, and a snapshot at each step before."""
    state, records, steps = made.start(), [], []
    for event in made.events(state):
        if isinstance(event, Record):
            records.append(event.data)
        if state.json["phase"] == until:
            break
        if isinstance(event, Step):
            steps.append((state.snapshot(), event))
    return state, records, steps


@dataclass(frozen=True)
class Planned:
    """Alternate, with what it asks for at the end of given epochs."""

    epochs: int
    asks: tuple[tuple[int, Any], ...] = ()
    past: int = 0
    phases: tuple[Phase, ...] = ()

    def rate(self, epoch: int, top: float) -> float:
        return top

    def outer_due(self, step: int, per_epoch: int, norm: float = 0.0, held: dict[str, Tensor] | None = None) -> bool:
        assert norm > 0
        return True

    def outer_steps(self, per_epoch: int) -> int:
        return self.epochs * per_epoch

    def after_epoch(self, history: History) -> Stop | Rollback | None:
        if any("decay" in entry["settings"] for entry in history):
            return None
        return dict(self.asks).get(len(history))

    def phase(self, epoch: int) -> Phase:
        return self.phases[epoch] if self.phases else Phase()


def alphas_at(steps: list[tuple[State, Step]], epoch: int) -> dict[str, list[float]]:
    for state, event in steps:
        if event.boundary and state.json["epoch"] == epoch:
            return {n: t.tolist() for n, t in state.group("alphas").items()}
    raise AssertionError(epoch)


def test_a_stop_ends_with_the_alphas_of_the_epoch_it_names() -> None:
    made = search(schedule=Planned(5, ((3, Stop(2)),)))
    state, records, steps = ran(made)
    whole = ran(search(schedule=Planned(5)))[2]
    (asked,) = [r for r in records if r["event"] == "schedule"]
    assert asked == {"event": "schedule", "epoch": 3, "asked": "stop", "to": 2}
    last = {n: t.tolist() for n, t in steps[-1][0].group("alphas").items()}
    assert last == alphas_at(whole, 2) and last != alphas_at(whole, 3)
    assert len([r for r in records if r["event"] == "epoch"]) == 3  # no epoch after the stop
    derived = next(r for r in records if r["event"] == "derived")
    assert derived["gates"] == [r for r in records if r["event"] == "epoch"][1]["gates"]
    longer = ran(search(schedule=Planned(5)))[0]
    assert state.json["search_cost"] < longer.json["search_cost"]


def test_a_rollback_goes_back_to_every_bit_and_changes_the_settings() -> None:
    made = search(schedule=Planned(4, ((3, Rollback(1, {"decay": 50.0})),), past=3))
    _, records, steps = ran(made)
    plain = ran(search(schedule=Planned(4)))[2]
    back = next(s for s, e in steps if e.boundary and s.json["settings"])
    then = next(s for s, e in plain if e.boundary and s.json["epoch"] == 1)
    assert back.json["epoch"] == 1 and len(back.json["history"]) == 1
    for group in ("weights", "buffers", "sgd", "alphas", "held"):
        ours, theirs = back.group(group), then.group(group)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[n], theirs[n]) for n in ours), group
    assert [r["epoch"] for r in records if r["event"] == "epoch"] == [1, 2, 3, 2, 3, 4]
    first, second = ([r for r in records if r["event"] == "epoch" and r["epoch"] == 2][i] for i in (0, 1))
    assert second["train_loss"] > first["train_loss"]  # fifty times the weight decay is part of it


@pytest.mark.parametrize("asks", [((2, Stop(1)),), ((2, Rollback(1, {"decay": 9.0})),)])
def test_stopped_and_gone_back_it_resumes_bit_for_bit(asks: Any) -> None:
    made = search(schedule=Planned(3, asks, past=2))
    state, _, steps = ran(made, until="done")
    for kept, _ in steps[:: max(len(steps) // 6, 1)]:
        again = kept.snapshot()
        list(made.events(again))
        assert again.json == state.json
        assert all(torch.equal(again.tensors[n], t) for n, t in state.tensors.items())


def test_a_phase_trains_what_it_names_and_nothing_else() -> None:
    began: list[list[str]] = []

    def begin(weights: Mapping[str, Tensor]) -> None:
        began.append(sorted(weights))

    phases = (Phase(rest=("bias",)), Phase(only=("bias",), begin=begin), Phase(only=("bias",), begin=begin))
    _, _, steps = ran(search(schedule=Planned(3, phases=phases)))
    start, first, second = (
        next(s for s, e in steps if e.boundary and s.json["epoch"] == n) if n else steps[0][0] for n in (0, 1, 2)
    )
    fresh = search().start()
    for name, before in fresh.group("weights").items():
        bias = name.endswith("bias")
        assert torch.equal(first.group("weights")[name], before) == bias, name
        assert torch.equal(second.group("weights")[name], first.group("weights")[name]) == (not bias), name
    assert began == [sorted(fresh.group("weights"))]  # once: the third phase is the second one
    assert start.json["epoch"] == 0


def test_settings_of_a_phase_reach_buffers_and_terms() -> None:
    seen: list[Any] = []

    @dataclass(frozen=True)
    class Watch:
        scope: ClassVar[str] = "inner"

        def __call__(self, weights: Any, alphas: Any, view: View | None = None) -> Tensor:
            assert view is not None
            seen.append(dict(view.settings))
            return torch.zeros(())

    model = tiny.model()
    model.register_buffer("keep", torch.tensor(1.0))
    plan = Planned(2, phases=(Phase(settings={"keep": 0.5}), Phase(settings={"keep": 0.25})))
    _, _, steps = ran(search(schedule=plan, net=model, terms=(Watch(),)))
    held = [float(s.group("buffers")["keep"]) for s, e in steps if e.boundary]
    assert held[:2] == [0.5, 0.25]
    assert {"keep": 0.5} in seen and {"keep": 0.25} in seen


def test_a_joint_step_takes_both_gradients_from_one_pass() -> None:
    """The alphas' first step of a single-level search is along ∂L1/∂a on the batch of the weight step."""
    terms = (WeightDecay(3e-4), AlphaDecay(0.5))
    made = search(hypergradient=SingleLevel(), terms=terms, outer=Adam(lr=0.1, travel=0.0))
    state = made.start()
    loop = Loop(made, made.lab(), state)
    batch = next(iter(loop.shared.batches(0, 0)))
    before = [a.detach().clone() for a in loop.alphas]
    weights = tuple(w.detach().clone().requires_grad_() for w in loop.shared.weights)
    loss = loop.loss(batch, "inner", 0)
    leaves = tuple(a.clone().requires_grad_() for a in before)
    slopes = torch.autograd.grad(loss(weights, leaves), (*weights, *leaves))
    list(loop.pair(batch, 0, 0.01))
    for a, b, g in zip(loop.alphas, before, slopes[len(weights) :], strict=True):
        wanted = b - 0.1 * g / (g.abs() + 1e-8)  # Adam's first step
        assert torch.allclose(a.detach(), wanted, atol=1e-6)
    assert any(float(g.abs().max()) > 1e-4 for g in slopes[len(weights) :])
    plain = replace(made, terms=(WeightDecay(3e-4),))
    other = Loop(plain, plain.lab(), plain.start()).loss(batch, "inner", 0)
    big = tuple(torch.ones_like(a) for a in leaves)
    both = [float(one(weights, big).detach()) for one in (loss, other)]
    assert both[0] == pytest.approx(both[1] + 0.25 * sum(a.numel() for a in big))  # the outer term is on the one loss


def test_the_second_copy_follows_its_formula_and_leaves_the_first_alone() -> None:
    made = search(twin=Twin(tie=2.0), hypergradient=Relaxed(1.0), inner=Sgd(lr=0.025, momentum=0.0, clip=0.0))
    state = made.start()
    loop = Loop(made, made.lab(), state)
    y = [state.group("held")[f"twin/{i}"].clone() for i in range(len(loop.shared.weights))]
    w = [t.detach().clone() + 0.1 for t in loop.shared.weights]
    outer = loop.loss(loop.sample("valid", 0), "outer", 0)
    outer = replace(outer, buffers=made.twin.buffers(loop.held, len(loop.shared.buffers)))
    leaves = tuple(t.clone().requires_grad_() for t in y)
    slopes = torch.autograd.grad(outer(leaves, tuple(a.detach() for a in loop.alphas)), leaves, allow_unused=True)
    made.twin.step(outer, w, tuple(loop.alphas), made.inner, 0.05)
    for i, (old, g) in enumerate(zip(y, slopes, strict=True)):
        wanted = old - 0.05 * ((0 if g is None else g) + 2.0 * (old - w[i]))
        assert torch.allclose(loop.held[f"twin/{i}"], wanted, atol=1e-6)
    stored = search(twin=Twin(tie=2.0), hypergradient=Relaxed(1.0)).start()
    assert all(torch.equal(stored.group("weights")[n], t) for n, t in search().start().group("weights").items())


def test_a_balance_weighs_the_training_half_once() -> None:
    """RARTS: g = λ ∂L1(w, a)/∂a + ∂L2(y, a)/∂a, λ from the inner loss, which the weights descend too."""
    terms = (WeightDecay(0.0), LossScale(10.0), Tether(2.0))
    made = search(twin=Twin(tie=2.0), terms=terms, hypergradient=Relaxed(1.0))
    loop = Loop(made, made.lab(), made.start())
    inner, outer = (loop.loss(loop.sample(s, 0), scope, 0) for s, scope in (("train", "inner"), ("valid", "outer")))
    y = made.twin.weights(loop.held, len(loop.shared.weights))
    weights = tuple(w.detach() + 0.01 for w in loop.shared.weights)
    found = made.hypergradient.explain(replace(outer, twin=y), inner, weights, loop.alphas, lr=0.1).gradients
    leaves = tuple(a.detach().clone().requires_grad_() for a in loop.alphas)
    plain = replace(inner, terms=())
    wanted = torch.autograd.grad(10.0 * plain(weights, leaves) + outer(y, leaves), leaves)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(found, wanted, strict=True))


def test_passes_inside_a_weight_step_are_part_of_the_cost() -> None:
    plain, attacked = (
        ran(search(relaxation=r))[0].json["search_cost"] for r in (Softmax(), Adversarial(Softmax(), steps=2))
    )
    taught = ran(search(terms=(WeightDecay(3e-4), Distil(every=1, teachers=2))))[0].json["search_cost"]
    one = search()
    lab = one.lab()
    steps = 2 * Loop(one, lab, one.start()).shared.per_epoch
    assert attacked - plain == pytest.approx(7.0 * steps * one.batch * lab.supernet_macs)
    assert taught - plain == pytest.approx((2.0 * steps - 3.0) * one.batch * lab.supernet_macs)  # 0, 1, 2, 2, …
    gap = ran(search(terms=(WeightDecay(3e-4), GeneralisationGap(0.5))))[0].json["search_cost"]
    assert gap - plain == pytest.approx(3.0 * steps * one.batch * lab.supernet_macs)


def test_alphas_that_never_train_rest_in_a_tuning_too() -> None:
    made = search(schedule=Alternate(epochs=2, warmup=2), derivation=Slow())
    _, _, steps = ran(made)
    first, last = steps[0][0].group("alphas"), steps[-1][0].group("alphas")
    assert any(e.label == "tune" for _, e in steps) and all(torch.equal(first[n], last[n]) for n in first)


def test_relaxations_and_terms_keep_what_they_hold_in_the_state() -> None:
    @dataclass(frozen=True)
    class Counting:
        """Counts alpha steps; its gates lean on the count, so that it matters."""

        def init(self, space: Space, rng: Any) -> dict[str, Tensor]:
            return Softmax().init(space, rng)

        def keeps(self, space: Space) -> dict[str, Tensor]:
            return {"count": torch.zeros(())}

        def gates(self, alphas: Mapping[str, Tensor], ctx: Context) -> Gates:
            return Softmax().gates({n: a * (1 + 0.1 * float(ctx.held["count"])) for n, a in alphas.items()}, ctx)

        def settle(self, alphas: dict[str, Tensor], before: Mapping[str, Tensor], ctx: Context) -> None:
            assert any(not torch.equal(alphas[n], before[n]) for n in alphas)
            ctx.held["count"] += 1
            alphas["body"][0] = 5.0

    @dataclass(frozen=True)
    class Remembering:
        """Pulls the weights to where they were a step ago; needs what it remembers."""

        scope: ClassVar[str] = "inner"

        def __call__(self, weights: Sequence[Tensor], alphas: Any, view: View | None = None) -> Tensor:
            assert view is not None
            held = [view.held[n] for n in view.held if n.startswith("before/")]
            return sum(((w - b) ** 2).sum() for w, b in zip(weights, held, strict=True)) * (1.0 if held else 0.0)

        def keeps(self, weights: Sequence[Tensor], alphas: Any) -> dict[str, Tensor]:
            return {f"before/{i}": w.detach().clone() for i, w in enumerate(weights)}

        def settle(self, held: dict[str, Tensor], moment: Moment) -> None:
            assert moment.kind == "inner" and moment.gates
            held.update({f"before/{i}": w.clone() for i, w in enumerate(moment.weights)})

    made = search(relaxation=Counting(), terms=(Remembering(),))
    state, _, steps = ran(made, until="done")
    counts = [float(s.group("held")["count"]) for s, e in steps if s.json["phase"] == "search" and not e.boundary]
    assert counts == [float(i + 1) for i in range(len(counts))]
    assert float(steps[3][0].group("alphas")["body"][0]) == 5.0
    middle = steps[len(counts) // 2][0].snapshot()
    list(made.events(middle))
    assert middle.json == state.json
    forgetful = steps[len(counts) // 2][0].snapshot()
    forgetful.tensors["held/count"] = torch.zeros(())
    list(made.events(forgetful))
    assert forgetful.json != state.json  # what is held matters, so that the test above can fail


@dataclass(frozen=True)
class Slow:
    """A derivation that scores every option of the choices in turn, tuning after each; the best one is fixed."""

    epochs: int = 1

    def __call__(self, space: Space, gates: Mapping[str, Tensor]) -> Any:
        return Strongest()(space, gates)

    def process(self, bench: Bench) -> Process:
        fixed, names = bench.held.setdefault("fixed", {}), [c.name for c in bench.space.choices]
        for name in names[len(fixed) :]:
            if bench.held.get("chosen", [None])[0] != name:
                options, scores = bench.space[name].options, []
                for i in range(len(options)):
                    gate = torch.zeros(len(options))
                    gate[i] = 1.0
                    scores.append(bench.score({**bench.gates, name: gate}))
                bench.held["chosen"] = [name, options[max(range(len(options)), key=scores.__getitem__)]]
                yield Step("search", "derive", len(fixed), len(names))
            yield from bench.tune(self.epochs, {**fixed, name: bench.held["chosen"][1]})
            fixed[name] = bench.held["chosen"][1]
            yield Step("search", "derive", len(fixed), len(names), boundary=True)
        return Strongest()(bench.space, decide(Gates(bench.gates), bench.space, fixed))


def test_a_derivation_that_trains_resumes_bit_for_bit() -> None:
    made = search(derivation=Slow())
    state, records, steps = ran(made, until="done")
    tuned = [s for s, e in steps if e.label == "tune"]
    assert len(tuned) >= 2 and tuned[0].json["phase"] == "search"
    assert not all(torch.equal(tuned[0].group("weights")[n], t) for n, t in tuned[-1].group("weights").items())
    fixed = tuned[-1].json["bench"]["fixed"]
    result = next(r for r in records if r["event"] == "finished")["result"]
    assert all(result["architecture"][n] == o for n, o in fixed.items() if n in result["architecture"])
    deriving = [s for s, e in steps if e.label in ("tune", "derive")]
    for kept in deriving[:: max(len(deriving) // 5, 1)]:
        again = kept.snapshot()
        list(made.events(again))
        assert again.json == state.json
        assert all(torch.equal(again.tensors[n], t) for n, t in state.tensors.items())
    assert state.json["result"]["budget"]["search"] > ran(search(), until="done")[0].json["result"]["budget"]["search"]


def test_decided_choices_are_constants_and_their_other_options_off() -> None:
    space = Space([Choice("a", ("x", "y", "z")), Choice("n", ("0", "1", "2"), "some", 2)])
    values = {"a": torch.randn(3, requires_grad=True), "n": torch.ones(3)}
    found = decide(Gates(values), space, {"a": "y", "n": ["0", "2"]})
    assert found["a"].tolist() == [0, 1, 0] and not found["a"].requires_grad
    assert found.active == {"a": (False, True, False), "n": (True, False, True)}
    assert found["n"].tolist() == [1, 0, 1]
    assert decide(Gates(values), space, {})["a"] is values["a"]


def test_a_view_says_what_it_cannot_give() -> None:
    made = search()
    loop = Loop(made, made.lab(), made.start())
    caught: list[str] = []

    @dataclass(frozen=True)
    class Asking:
        scope: ClassVar[str] = "inner"

        def __call__(self, weights: Any, alphas: Any, view: View | None = None) -> Tensor:
            assert view is not None
            for ask in (view.other, lambda: view.costs("params")):
                try:
                    ask()
                except UsageError as error:
                    caught.append(str(error))
            outputs, loss = view.again()
            assert torch.equal(outputs[0], view.outputs[0]) and torch.equal(loss, view.loss)
            assert torch.equal(view.relax(alphas)["body"], view.gates["body"])
            return torch.zeros(())

    batch = next(iter(loop.shared.batches(0, 0)))
    BatchLoss(
        supernet=loop.lab.supernet,
        relaxation=Softmax(),
        names=loop.names,
        data=loop.lab.data,
        batch=batch,
        buffers=loop.shared.buffers,
        noise=(0, "inner", 0),
        terms=(Asking(),),
    )(loop.shared.weights, tuple(loop.alphas))
    assert len(caught) == 2 and "other half" in caught[0] and "cost" in caught[1]


def test_weights_train_on_all_data_where_a_search_says_so() -> None:
    both = (search(), search(split="fit", hypergradient=SingleLevel()))
    sizes = [Loop(s, s.lab(), s.start()).shared.per_epoch for s in both]
    assert sizes[1] > sizes[0]
    with pytest.raises(UsageError, match="only a single level trains on all"):
        search(split="fit")
    with pytest.raises(UsageError, match="no effect without a hypergradient that reads it"):
        search(twin=Twin())


@pytest.mark.parametrize("ask", [Stop(0), Stop(5), Rollback(0), Rollback(1)])
def test_an_epoch_that_is_not_kept_is_refused(ask: Any) -> None:
    with pytest.raises(UsageError, match=f"asks for epoch {ask.epoch} after epoch 2, which is not kept"):
        ran(search(schedule=Planned(3, ((2, ask),))))


def test_two_parts_that_would_share_a_memory_are_refused() -> None:
    with pytest.raises(UsageError, match="would share what they hold"):
        search(terms=(Distil(every=1), Distil(every=2))).start()


def test_a_decorator_does_not_hide_how_a_search_is_judged() -> None:
    made = search(relaxation=PathDrop(SparseNoisy()))
    loop = Loop(made, made.lab(), made.start())
    loop.held["tau"].fill_(0.01)  # cold gates, and alphas that have not moved
    assert loop.entropy() > 0.999 > entropy(loop.gates(), loop.lab.space)


def test_options_that_are_off_stay_off_under_every_mixer() -> None:
    made = search(mixer=MaxW(), relaxation=Box())
    loop = Loop(made, made.lab(), made.start())
    loop.held["dead/body"][0] = 1.0
    assert loop.gates().active["body"] == (False, True, True)
    assert loop.mixed(loop.gates())["body"][0] == 0.0


def test_a_tuning_after_phases_resumes_bit_for_bit() -> None:
    made = search(schedule=Planned(1, phases=(Phase(settings={"decay": 81.0}),)), derivation=Slow())
    state, _, steps = ran(made, until="done")
    kept = next(s for s, e in steps if e.label == "tune").snapshot()
    list(made.events(kept))
    assert kept.json == state.json
    assert all(torch.equal(kept.tensors[n], t) for n, t in state.tensors.items())


def test_squares_grow_with_the_search() -> None:
    made = search(cutout=6)
    loop = Loop(made, made.lab(), made.start())
    assert [loop.augment(e).cutout for e in (0, 1)] == [3, 6]
    assert Loop(search(), search().lab(), search().start()).augment(0) is None


def test_the_best_of_several_levels_by_the_holdout() -> None:
    """Levels that differ in the schedule: the winner is the one with the best holdout score, costs add up, it resumes."""
    one = search(baseline=1)
    levels = Levels("levels", (one, replace(one, schedule=Alternate(epochs=1)), replace(one, terms=())))
    state, records, steps = ran(levels, until="done")  # type: ignore[arg-type]
    trained = [r for r in records if r["event"] == "trained"]
    assert [t["network"] for t in trained] == ["derived-0", "derived-1", "derived-2", "random-0"]
    scores = [t["metrics"]["valid_accuracy"] for t in trained[:3]]
    result = state.json["result"]
    assert result["supernet"]["level"] == scores.index(max(scores))
    assert result["metrics"] == trained[result["supernet"]["level"]]["metrics"]
    searches = [ran(s)[0].json["search_cost"] for s in levels.searches]
    others = sum(t["budget"] for t in trained[:3]) - result["budget"]["retrain"]
    assert result["budget"]["search"] == pytest.approx(sum(searches) + others)
    for kept, _ in steps[:: max(len(steps) // 6, 1)]:
        again = kept.snapshot()
        list(levels.events(again))
        assert again.json == state.json


def test_levels_that_do_not_belong_together_are_refused() -> None:
    one = search()
    with pytest.raises(UsageError, match="at least one"):
        Levels("levels", ())
    with pytest.raises(UsageError, match="agree in task"):
        Levels("levels", (one, replace(one, seed=3)))


def events_of(made: Bilevel) -> Iterator[Event]:
    yield from made.events(made.start())


def test_hypergradients_without_an_implicit_term_say_so() -> None:
    made = search(hypergradient=FirstOrder())
    found = [e.data for e in events_of(made) if isinstance(e, Record)]
    hyper = [data["hyper"] for data in found if data["event"] == "epoch" and data["phase"] == "search"]
    assert hyper and all(h["implicit"] == 0.0 and h["share"] == 0.0 for h in hyper)


def test_noise_of_a_step_is_the_same_in_every_call() -> None:
    made = search()
    loop = Loop(made, made.lab(), made.start())
    loss = loop.loss(next(iter(loop.shared.batches(0, 0))), "inner", 3)
    first, again = (torch.rand(4, generator=loss.rng("gates")) for _ in range(2))
    assert torch.equal(first, again)
    assert torch.equal(first, torch.rand(4, generator=stream(made.seed, "gates", "inner", 3)))
