"""Augmentation: shapes and types, exact effects, determinism, and the errors."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mimar.core.errors import UsageError
from mimar.core.streams import stream
from mimar.tasks import Augment


def images(batch, channels, height, width, dtype=torch.float32):
    return torch.rand(batch, channels, height, width, generator=stream(1, "x")).to(dtype) + 1


@settings(max_examples=30, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(4, 9), st.integers(4, 9)),
    crop=st.integers(0, 3),
    flip=st.booleans(),
    cutout=st.integers(0, 3),
    double=st.booleans(),
)
def test_shape_type_and_values_are_kept(shape, crop, flip, cutout, double):
    x = images(*shape, dtype=torch.float64 if double else torch.float32)
    before = x.clone()
    out = Augment(crop, flip, cutout)(x, stream(0, "a"))
    assert out.shape == x.shape and out.dtype == x.dtype
    assert torch.equal(x, before)
    assert torch.isin(out, torch.cat([x.flatten(), torch.zeros(1, dtype=x.dtype)])).all()


def test_nothing_switched_on_changes_nothing_and_draws_nothing():
    x, rng = images(4, 2, 5, 7), stream(0, "a")
    state = rng.get_state()
    assert Augment()(x, rng) is x
    assert torch.equal(rng.get_state(), state)


def test_flip_mirrors_about_half_of_the_images_along_the_width():
    x = images(400, 1, 4, 6)
    out = Augment(flip=True)(x, stream(0, "flip"))
    same = (out == x).flatten(1).all(1)
    mirrored = (out == x.flip(3)).flatten(1).all(1)
    assert (same ^ mirrored).all()
    assert 160 < int(mirrored.sum()) < 240


def test_crop_equals_padding_and_cutting_a_window_for_every_image():
    x = images(64, 3, 6, 9)
    fill = torch.tensor([-1.0, -2.0, -3.0]).view(3, 1, 1)
    out = Augment(crop=2)(x, stream(0, "crop"), fill=fill)
    padded = fill.expand(64, 3, 10, 13).clone()
    padded[:, :, 2:8, 2:11] = x
    windows = {(i, j): padded[:, :, i : i + 6, j : j + 9] for i in range(5) for j in range(5)}
    found = torch.stack([(out == w).flatten(1).all(1) for w in windows.values()])  # (25, B)
    assert found.any(0).all()
    assert found.any(1).sum() > 15  # nearly every one of the 25 windows occurs among 64 images


def test_cutout_erases_one_square_clipped_by_the_border():
    x = images(200, 2, 10, 14)
    out = Augment(cutout=4)(x, stream(0, "cutout"))
    erased = out == 0
    assert torch.equal(erased[:, 0], erased[:, 1])
    assert torch.equal(out[~erased], x[~erased])
    areas = erased[:, 0].sum((1, 2))
    assert int(areas.max()) == 16 and int(areas.min()) >= 4
    assert (areas < 16).any()
    rows, cols = erased[:, 0].any(2).sum(1), erased[:, 0].any(1).sum(1)
    assert torch.equal(rows * cols, areas)  # a rectangle


def test_same_stream_same_result_and_other_stream_another():
    x, part = images(8, 1, 8, 8), Augment(2, True, 3)
    assert torch.equal(part(x, stream(3, "s")), part(x, stream(3, "s")))
    assert not torch.equal(part(x, stream(3, "s")), part(x, stream(4, "s")))


@pytest.mark.parametrize("wrong", [{"crop": -1}, {"crop": 1.5}, {"cutout": True}, {"flip": 1}])
def test_wrong_options_are_named(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Augment(**wrong)


def test_effects_that_leave_nothing_are_refused():
    with pytest.raises(UsageError, match="crop 4 leaves nothing of 4×40"):
        Augment(crop=4)(images(2, 1, 4, 40), stream(0, "a"))
    with pytest.raises(UsageError, match="cutout 8 erases"):
        Augment(cutout=8)(images(2, 1, 8, 8), stream(0, "a"))
