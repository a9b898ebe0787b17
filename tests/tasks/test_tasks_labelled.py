"""The one implementation behind every labelled set: splits, batches, resume, loss, evaluation, bad input."""

from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mimar import tasks
from mimar.core.describe import describe, rebuild
from mimar.core.errors import DataError, RunError, UsageError
from mimar.core.streams import stream
from mimar.tasks.labelled import prepare, stratified

AUGMENT = tasks.Augment(crop=2, flip=True, cutout=3)


def made(samples=150, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(3, 2, (samples, 2, 6, 7)).astype(np.float32), np.arange(samples) % classes


@pytest.fixture(scope="module")
def bound():
    return tasks.arrays(*made()).split(0)


@settings(max_examples=40, deadline=None)
@given(
    counts=st.lists(st.integers(2, 40), min_size=2, max_size=6),
    fraction=st.floats(0.05, 0.95),
    seed=st.integers(0, 100),
)
def test_stratified_is_a_partition_in_proportion(counts, fraction, seed):
    y = torch.cat([torch.full((n,), c) for c, n in enumerate(counts)])
    y = y[torch.randperm(len(y), generator=stream(seed, "order"))]
    first, second = stratified(y, fraction, stream(seed, "split"))
    assert torch.equal(torch.cat([first, second]).sort().values, torch.arange(len(y)))
    for c, n in enumerate(counts):
        k = int((y[first] == c).sum())
        assert 1 <= k <= n - 1
        assert abs(k - n * fraction) < 1 or k in (1, n - 1)


def test_splits_are_disjoint_cover_and_are_stratified(bound):
    assert bound.splits == ("train", "valid", "fit", "holdout", "test")
    index = {s: set(bound.index[s].tolist()) for s in bound.splits}
    everything = set(range(150))
    assert index["train"] | index["valid"] | index["test"] == everything
    assert index["fit"] | index["holdout"] | index["test"] == everything
    assert [bound.size(s) for s in bound.splits] == [60, 60, 96, 24, 30]
    assert index["train"].isdisjoint(index["valid"]) and index["fit"].isdisjoint(index["holdout"])
    for s in bound.splits:
        counts = torch.bincount(bound.data.y[bound.index[s]])
        assert int(counts.max() - counts.min()) <= 1


def test_the_test_set_ignores_the_seed_and_the_halves_follow_it():
    task = tasks.arrays(*made())
    a, b, again = task.split(0), task.split(1), task.split(0)
    assert torch.equal(a.index["test"], b.index["test"])
    for s in ("train", "valid", "fit", "holdout"):
        assert not torch.equal(a.index[s], b.index[s])
        assert torch.equal(a.index[s], again.index[s])


def test_batches_are_float32_normalised_by_what_is_not_test(bound):
    halves = [b for s in ("train", "valid") for b in bound.batches(s, None)]
    x = torch.cat([b.x for b in halves])
    assert x.dtype == torch.float32 and x.shape[1:] == (2, 6, 7)
    assert halves[0].y.dtype == torch.int64
    assert torch.allclose(x.mean((0, 2, 3)), torch.zeros(2), atol=1e-5)
    assert torch.allclose(x.std((0, 2, 3), unbiased=False), torch.ones(2), atol=1e-5)
    test = torch.cat([b.x for b in bound.batches("test", None)])
    assert not torch.allclose(test.mean((0, 2, 3)), torch.zeros(2), atol=1e-5)


def test_a_constant_channel_is_centred_not_divided_by_zero():
    x, y = made()
    x[:, 1] = 0.1
    batch = next(tasks.arrays(x, y).split(0).batches("train", None))
    assert torch.isfinite(batch.x).all() and batch.x[:, 1].abs().max() < 1e-6


@pytest.mark.parametrize("augment", [None, AUGMENT])
def test_starting_at_k_equals_skipping_k(bound, augment):
    def run(start):
        return list(bound.batches("train", stream(5, "e"), size=16, start=start, augment=augment))

    whole = run(0)
    assert [len(b.y) for b in whole] == [16, 16, 16, 12]
    for k in range(5):
        tail = run(k)
        assert len(tail) == 4 - k
        for a, b in zip(whole[k:], tail, strict=True):
            assert torch.equal(a.x, b.x) and torch.equal(a.y, b.y)


def test_the_stream_is_used_at_the_call_and_equally_for_every_start(bound):
    states = []
    for start, augment in ((0, None), (3, AUGMENT)):
        rng = stream(1, "r")
        batches = bound.batches("train", rng, size=16, start=start, augment=augment)
        states.append(rng.get_state())
        list(batches)
        assert torch.equal(rng.get_state(), states[-1])
    assert torch.equal(states[0], states[1])


def test_without_a_stream_the_order_is_fixed_and_with_one_it_is_a_permutation(bound):
    fixed = torch.cat([b.y for b in bound.batches("train", None, size=7)])
    assert torch.equal(fixed, bound.data.y[bound.index["train"]])
    x = torch.cat([b.x for b in bound.batches("train", stream(0, "p"), size=7)]).flatten(1).sum(1)
    plain = torch.cat([b.x for b in bound.batches("train", None, size=60)]).flatten(1).sum(1)
    assert not torch.allclose(x, plain)
    assert torch.allclose(x.sort().values, plain.sort().values, atol=1e-4)


def test_steps_and_dropped_rest(bound):
    assert bound.steps("train", 16) == 4 and bound.steps("train", 16, drop_last=True) == 3
    sizes = [len(b.y) for b in bound.batches("train", None, size=16, drop_last=True)]
    assert sizes == [16, 16, 16]


def test_sample_has_different_members_and_follows_its_stream(bound):
    a, b = (bound.sample("train", stream(2, "s"), size=20, augment=AUGMENT) for _ in range(2))
    assert torch.equal(a.x, b.x) and a.x.shape == (20, 2, 6, 7)
    c = bound.sample("train", stream(3, "s"), size=20)
    assert len(torch.unique(c.x.flatten(1).sum(1))) == 20
    assert len(bound.sample("holdout", stream(2, "s"), size=999).y) == bound.size("holdout")


def test_global_random_state_is_left_alone(bound):
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    list(bound.batches("train", stream(0, "a"), augment=AUGMENT))
    bound.sample("valid", stream(0, "b"))
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert (np.random.get_state()[1] == numpy_state).all()


def test_loss_and_evaluation_against_a_direct_computation(bound):
    net = nn.Sequential(nn.Flatten(), nn.Linear(84, 3))
    batch = next(bound.batches("valid", None, size=10))
    log = torch.log_softmax(net(batch.x), 1)
    assert torch.allclose(bound.loss(net, batch), -log[torch.arange(10), batch.y].mean())
    assert bound.loss(net, batch).requires_grad
    result = bound.evaluate(net, "test", size=7)
    whole = next(bound.batches("test", None, size=30))
    logits = net(whole.x).detach()
    assert result["accuracy"] == pytest.approx(float((logits.argmax(1) == whole.y).double().mean()))
    assert result["loss"] == pytest.approx(float(nn.functional.cross_entropy(logits, whole.y)), rel=1e-5)
    assert [m.name for m in bound.task.measures] == list(result)
    assert bound.evaluate(net, "test", size=30)["loss"] == pytest.approx(result["loss"], rel=1e-6)


def test_evaluation_of_a_diverged_network_is_not_finite(bound):
    assert math.isnan(bound.evaluate(lambda x: torch.full((len(x), 3), float("nan")), "test")["loss"])


def test_cost_counts_one_image_and_keeps_every_mode(bound):
    net = nn.Sequential(nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    net.append(nn.Linear(4, 3))
    net[1].eval()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    assert bound.cost(net) == {"params": 72 + 8 + 15, "macs": 4 * 5 * 2 * 9 * 4 + 12}
    assert net.training and net[0].training and not net[1].training
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_a_given_test_set_is_used_as_it_is():
    x, y = made()
    task = tasks.arrays(x, y, test=(x[:7] + 1, y[:7]))
    bound = task.split(0)
    assert bound.size("test") == 7 and bound.size("train") + bound.size("valid") == 150
    held = next(bound.batches("test", None))
    assert held.y.tolist() == y[:7].tolist()


def test_limit_is_balanced_nested_and_leaves_the_test_set():
    x, y = (torch.from_numpy(v) for v in made(300))
    full, large, small = (prepare(x, y, limit=n) for n in (None, 100, 31))
    assert torch.equal(full.test, large.test) and torch.equal(full.test, small.test)
    assert torch.bincount(y[large.rest]).tolist() == [34, 33, 33]
    assert torch.bincount(y[small.rest]).tolist() == [11, 10, 10]
    assert set(small.rest.tolist()) < set(large.rest.tolist()) < set(full.rest.tolist())
    with pytest.raises(UsageError, match="limit is 900, but there are only 240"):
        prepare(x, y, limit=900)
    with pytest.raises(UsageError, match="limit must be at least 6"):
        prepare(x, y, limit=5)
    uneven = torch.cat([torch.zeros(250), torch.ones(25), torch.full((25,), 2)]).long()
    with pytest.raises(UsageError, match="class 1 has 20"):
        prepare(x, uneven, limit=90)


def test_arrays_take_tensors_grey_and_lists_and_copy():
    x, y = made()
    one = tasks.arrays(x, y)
    same = tasks.arrays(torch.from_numpy(x).double(), torch.from_numpy(y).int())
    assert one.identity() == same.identity() and one.shape == (2, 6, 7) and one.classes == 3
    x[:] = 0
    assert one.identity() == same.identity()
    grey = tasks.arrays([[[1, 2], [3, i]] for i in range(12)], [i % 2 for i in range(12)])
    assert grey.shape == (1, 2, 2)
    big_endian = tasks.arrays(made()[0].astype(">f8"), made()[1].astype(np.uint16))
    assert big_endian.identity() == one.identity()


def test_identity_tells_content_options_and_test_set():
    x, y = made()
    other = x.copy()
    other[3, 0, 0, 0] += 1
    known = {
        tasks.arrays(x, y).identity(),
        tasks.arrays(other, y).identity(),
        tasks.arrays(x, (y + 1) % 3).identity(),
        tasks.arrays(x, y, augment=AUGMENT).identity(),
        tasks.arrays(x, y, valid_fraction=0.3).identity(),
        tasks.arrays(x, y, test=(x[:3], y[:3])).identity(),
    }
    assert len(known) == 6
    with pytest.raises(RunError, match="your own Arrays"):
        rebuild(describe(tasks.arrays(x, y)))


X, Y = made(30)
NAN, INF = X.copy(), X.copy()
NAN[4, 0, 0, 0] = np.nan
INF[[2, 9], 1, 1, 1] = np.inf


@pytest.mark.parametrize(
    ("x", "y", "says"),
    [
        (X[:, 0, 0, 0], Y, r"x must have the shape \(N, C, H, W\) or \(N, H, W\); got \(30,\)"),
        (X[None], Y, r"got \(1, 30, 2, 6, 7\)"),
        (X[:0], Y[:0], "x is empty"),
        (np.zeros((30, 8, 8, 3)), Y, "channels last"),
        (NAN, Y, "NaN or infinite values in 1 of 30 samples, first in 4"),
        (INF, Y, "in 2 of 30 samples, first in 2"),
        (np.full((30, 4, 4), 1e300), Y, "NaN or infinite"),
        (X.astype(complex), Y, "real numbers"),
        (np.full((30, 4, 4), "a"), Y, "x must hold numbers"),
        ([[1, 2], [3]], [0, 1], "different lengths"),
        (X, Y[:-1], "30 samples but 29 labels"),
        (X, Y.astype(float), "whole numbers from 0 to n−1; got torch.float64"),
        (X, Y == 1, "whole numbers"),
        (X, Y[:, None], r"y must have the shape \(N,\)"),
        (X, Y - 1, "got -1"),
        (X, Y * 2, "3 classes with labels up to 4, but no 1"),
        (X, Y + 1, "no 0"),
        (X, Y * 0, "one class only"),
        (X, np.array(["a", "b"] * 15), "y must hold numbers"),
        (X, np.array([0] * 28 + [1] * 2), "class 1 has 2 samples, but 3 are needed: one each for training"),
        (X, np.array([0] * 29 + [1]), "class 1 has 1 sample, but 3"),
    ],
)
def test_bad_arrays_give_one_clear_sentence(x, y, says):
    with pytest.raises(DataError, match=says) as caught:
        tasks.arrays(x, y)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("test", "says"),
    [
        (X, "pair"),
        ((X[:0], Y[:0]), "test x is empty"),
        ((X[:, :1], Y), r"test samples are torch.float32 \(1, 6, 7\), but x holds"),
        ((X, Y + 1), "test y has the label 3, but there are only 3 classes"),
        ((X, Y[:3]), "30 samples but 3 labels in test y"),
        ((NAN, Y), "test x has NaN"),
    ],
)
def test_bad_test_arrays_give_one_clear_sentence(test, says):
    with pytest.raises(DataError, match=says):
        tasks.arrays(X, Y, test=test)


def test_two_samples_a_class_are_enough_beside_a_test_set():
    bound = tasks.arrays(X[:6], Y[:6], test=(X, Y)).split(0)
    assert [bound.size(s) for s in bound.splits] == [3, 3, 3, 3, 30]
    with pytest.raises(DataError, match="class 1 has 1 sample, but 2 are needed"):
        tasks.arrays(X[:3], np.array([0, 0, 1]), test=(X, Y % 2))


def test_wrong_requests_are_named(bound):
    with pytest.raises(UsageError, match="did you mean 'valid'"):
        bound.size("vald")
    with pytest.raises(UsageError, match="batch size must be a whole number"):
        bound.batches("train", None, size=0)
    with pytest.raises(UsageError, match="start must be from 0 to 1"):
        bound.batches("train", None, start=2)
    with pytest.raises(DataError, match="'train' has 60 samples, fewer than one batch of 64"):
        bound.batches("train", None, drop_last=True)
    with pytest.raises(UsageError, match="augmentation needs a random stream"):
        bound.batches("train", None, augment=AUGMENT)
    for fraction in (0.0, 1.0, 2, float("nan")):
        with pytest.raises(UsageError, match="valid_fraction"):
            tasks.arrays(X, Y, valid_fraction=fraction)


def test_a_network_of_the_wrong_size_is_named(bound):
    batch = next(bound.batches("train", None, size=4))
    with pytest.raises(DataError, match=r"returned \(4, 7\) for 4 samples and 3 classes; expected \(4, 3\)"):
        bound.loss(lambda x: torch.zeros(len(x), 7), batch)
    with pytest.raises(DataError, match="returned tuple"):
        bound.loss(lambda x: (x, x), batch)


def fingerprint():
    """Return a digest of the splits and the augmented batches of digits."""
    bound = tasks.digits().split(3)
    h = hashlib.sha256(bound.digest().encode())
    for split in bound.splits:
        h.update(bound.index[split].numpy().tobytes())
    for batch in bound.batches("train", stream(3, "epoch", 0), augment=AUGMENT, size=50):
        h.update(batch.x.numpy().tobytes() + batch.y.numpy().tobytes())
    return h.hexdigest()


def test_batches_are_identical_in_another_process():
    code = "import test_tasks_labelled as t; print(t.fingerprint())"
    environment = {
        **os.environ,
        "PYTHONPATH": os.path.dirname(__file__),
        "PYTHONHASHSEED": "77",
        "OMP_NUM_THREADS": "1",
    }
    there = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert there.stdout.strip() == fingerprint()
