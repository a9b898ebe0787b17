"""Token lists under an ensemble: places, lengths, members, and what it learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mimar.core.errors import DataError
from mimar.core.streams import Draws
from mimar.predictors.sequence import Sequences, Tokens
from mimar.space import Architecture, Choice, Space, darts, nasbench201
from mimar.space.transforms import Grow
from mimar.testing.expect import untouched


def chain(layers: int = 8) -> Space:
    return Space([Choice(f"layer{i}", ("skip", "small", "large")) for i in range(layers)])


def worth(arch: Architecture) -> float:
    """Layers help, later ones less."""
    return sum({"skip": 0.0, "small": 1.0, "large": 1.6}[v] * 0.8**i for i, v in enumerate(arch.values()))


def prefixes(space: Space, blocks: int, n: int, draws: Draws) -> list[Architecture]:
    small = Grow(blocks)(space).space
    return [small.sample(draws) for _ in range(n)]


def rank_correlation(a: object, b: object) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(a, b)[0])


def test_an_option_is_the_same_token_wherever_it_stands() -> None:
    tokens = Tokens(nasbench201())
    options, places = tokens([Architecture({c.name: "skip_connect" for c in nasbench201().choices})])
    assert len(set(options[0].tolist())) == 1 and len(set(places[0].tolist())) == 6
    assert len(tokens.number) == 5 and len(tokens.place) == 30


def test_lists_end_with_zeros_and_hold_every_kind() -> None:
    space = Space(
        [
            Choice("op", ("conv", "skip")),
            Choice("inputs", ("0", "1", "2"), "some", 2),
            Choice("lr", (0.0, 1.0), "value"),
            Choice("kernel", (3, 5), "size", when=(("op", "conv"),)),
        ]
    )
    tokens = Tokens(space)
    whole = {"op": "conv", "inputs": ("0", "2"), "lr": 0.34, "kernel": 5}
    assert tokens.words(whole) == [("op", "conv"), ("inputs", "0"), ("inputs", "2"), ("lr", "3"), ("kernel", "5")]
    options, _ = tokens([whole, {"op": "skip"}])
    assert options.shape == (2, 5) and options[1].tolist() == [tokens.number["skip"], 0, 0, 0, 0]
    assert options[0, 4] == tokens.number["5"]


@pytest.mark.parametrize("read", ["lstm", "mean"])
def test_a_list_is_read_alike_whatever_is_read_beside_it(read: str) -> None:
    model = Sequences(read=read, steps=3).start(chain(), 0)  # type: ignore[arg-type]
    short, long = Architecture({"layer0": "small"}), Architecture({f"layer{i}": "large" for i in range(8)})
    model.fit([short, long], [0.0, 1.0])
    alone, beside = model.predict([short])[0], model.predict([short, long])[0]
    assert beside[0] == pytest.approx(alone[0], abs=1e-6)


@pytest.mark.parametrize("read", ["lstm", "mean"])
def test_fitted_on_short_lists_it_ranks_longer_ones(read: str) -> None:
    draws = Draws(0, "test")
    known = [a for b in (1, 2, 3) for a in prefixes(chain(), b, 20, draws)]
    model = Sequences(read=read).start(chain(), 0)  # type: ignore[arg-type]
    model.fit(known, [worth(a) for a in known])
    longer = prefixes(chain(), 4, 60, draws)
    assert rank_correlation(model.predict(longer)[0], [worth(a) for a in longer]) > 0.5
    assert rank_correlation(model.predict(known)[0], [worth(a) for a in known]) > 0.9


def test_predictions_are_quantiles_of_what_was_fitted_with_the_spread_of_members() -> None:
    draws = Draws(1, "test")
    known = [chain().sample(draws) for _ in range(30)]
    y = [worth(a) for a in known]
    model = Sequences().start(chain(), 0)
    model.fit(known, y)
    mean, std = model.predict([chain().sample(draws) for _ in range(50)])
    assert mean.dtype == np.float64 and mean.shape == std.shape == (50,)
    assert min(y) <= mean.min() and mean.max() <= max(y) and (std > 0).any()
    single = Sequences(members=1).start(chain(), 0)
    single.fit(known, y)
    assert (single.predict(known)[1] == 0).all()


def test_an_outlier_does_not_hide_the_differences_between_the_others() -> None:
    draws = Draws(2, "test")
    known = [chain().sample(draws) for _ in range(60)]
    y = [worth(a) for a in known]
    model, hit = Sequences().start(chain(), 0), Sequences().start(chain(), 0)
    model.fit(known, y)
    hit.fit(known, [v if v > min(y) else -1e6 for v in y])
    others = [chain().sample(draws) for _ in range(60)]
    assert rank_correlation(hit.predict(others)[0], model.predict(others)[0]) > 0.95


def test_the_recurrence_is_that_of_torch() -> None:
    model = Sequences(read="lstm", hidden=6, members=2, steps=2).start(chain(), 0)
    known = [chain().sample(Draws(i, "test")) for i in range(4)]
    model.fit(known, [0.0, 1.0, 2.0, 3.0])
    options, _ = model.tokens(known)
    ours = model._through(options, (options > 0).float())
    for e in range(2):
        theirs = torch.nn.LSTM(6, 6, batch_first=True)
        order = torch.cat([torch.arange(0, 12), torch.arange(18, 24), torch.arange(12, 18)])  # torch: i, f, g, o
        weights, bias = model.weights["turn"][e].T[order], model.weights["gate"][e, 0][order]
        with torch.no_grad():
            theirs.weight_ih_l0.copy_(weights[:, :6])
            theirs.weight_hh_l0.copy_(weights[:, 6:])
            theirs.bias_ih_l0.copy_(bias)
            theirs.bias_hh_l0.zero_()
            _, (last, _) = theirs(model.weights["embed"][e][options])
        torch.testing.assert_close(ours[e], last[0])


def test_members_leave_out_different_fifths() -> None:
    model = Sequences().start(chain(), 0)
    shares = model._shares(50, torch.Generator().manual_seed(0))
    assert shares.sum(1).tolist() == pytest.approx([1.0] * 5)
    out = shares == 0
    assert out.sum(1).tolist() == [10] * 5 and (out.sum(0) == 1).all()
    assert (Sequences(share=1.0).start(chain(), 0)._shares(7, torch.Generator()) > 0).all()


def test_it_is_a_function_of_seed_and_data_and_draws_from_nothing_else() -> None:
    draws = Draws(3, "test")
    known = [darts().sample(draws) for _ in range(12)]
    y = [float(int(a.digest[:4], 16)) for a in known]
    found = []
    with untouched("fitting", {}):
        for seed in (0, 0, 1):
            model = Sequences(steps=5).start(darts(), seed)
            model.fit(known[:6], y[:6])  # forgotten by the next fit
            model.fit(known, y)
            found.append(model.predict(known)[0])
    assert (found[0] == found[1]).all() and (found[0] != found[2]).any()


def test_there_must_be_something_to_learn() -> None:
    model = Sequences().start(chain(), 0)
    with pytest.raises(DataError, match="before it was fitted"):
        model.predict([])
    with pytest.raises(DataError):
        model.fit([], [])
    model.fit([chain().sample(Draws(0, "test"))], [2.5])
    assert model.predict([chain().sample(Draws(1, "test"))])[0].tolist() == [2.5]
    assert model.predict([])[0].shape == (0,)
