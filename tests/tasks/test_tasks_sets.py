"""Every named set: what it holds, its options, its files and what happens when they are damaged or absent."""

from __future__ import annotations

import gzip
import pickle
import random
import warnings

import numpy as np
import pytest
import torch

from mimar import tasks
from mimar.core.describe import describe, rebuild
from mimar.core.errors import DataAbsentError, DataError, UsageError
from mimar.tasks import cifar, fashion, locate

SHAPES = {
    "digits": ((1, 8, 8), 1438, 359),
    "mnist1d": ((1, 4, 40), 4000, 1000),
    "fashion-mnist:limit=200": ((1, 28, 28), 200, 10_000),
    "cifar10-packed:limit=200": ((3, 32, 32), 200, 2_000),
    "cifar10-packed:limit=200,size=16": ((3, 16, 16), 200, 2_000),
}


@pytest.mark.parametrize("text", SHAPES)
def test_a_named_set_has_its_shape_sizes_and_balance(text, needs_data):
    needs_data(text.partition(":")[0])
    shape, rest, held = SHAPES[text]
    task = tasks.named(text)
    bound = task.split(0)
    assert task.shape == shape and task.classes == 10
    assert task.measures[0] == tasks.Measure("accuracy", "max", "fraction")
    assert bound.size("train") + bound.size("valid") == rest and bound.size("test") == held
    batch = next(bound.batches("train", torch.Generator().manual_seed(0), augment=task.augment))
    assert batch.x.shape == (64, *shape) and torch.isfinite(batch.x).all()
    for split in bound.splits:
        share = torch.bincount(bound.data.y[bound.index[split]], minlength=10) / bound.size(split)
        assert float((share - 0.1).abs().max()) < 0.01


@pytest.mark.parametrize("text", SHAPES)
def test_a_named_set_is_described_and_rebuilt(text):
    task = tasks.named(text)
    again = rebuild(describe(task))
    assert again == task and describe(again) == describe(task)


def test_digits_are_the_published_ones_and_never_mirrored():
    task = tasks.digits()
    data = task.split(0).data
    assert task.name == "digits" and task.augment == tasks.Augment(crop=1, flip=False)
    assert len(data.x) == 1797 and int(data.x.max()) == 16 and data.y[:10].tolist() == list(range(10))
    assert tasks.digits(augment=None).augment is None
    assert tasks.digits(limit=100).split(0).size("fit") == 80


def test_mnist1d_restores_the_generators_it_seeds_and_is_centred():
    from mimar.tasks import signals

    before, _ = signals._made()
    signals._made.cache_clear()
    random.seed(5)
    np.random.seed(5)
    python, numpy = random.getstate(), np.random.get_state()
    x, y = signals._made()
    assert random.getstate() == python and (np.random.get_state()[1] == numpy[1]).all()
    assert x.shape == (5000, 1, 4, 40) and torch.bincount(y).tolist() == [500] * 10
    assert torch.equal(x[:, :, 0], x[:, :, 3])
    assert float(x.mean()) == pytest.approx(0, abs=1e-5) and float(x.std()) == pytest.approx(1, abs=1e-3)
    assert torch.equal(x, before)


def test_packed_cifar_has_the_known_channel_means_and_averages(needs_data):
    needs_data("cifar10-packed")
    full, half = (tasks.cifar10_packed(size=s).split(0).data for s in (32, 16))
    assert (full.mean.flatten() / 255).tolist() == pytest.approx([0.493, 0.483, 0.447], abs=2e-3)
    block = full.x[7, 1, 4:6, 10:12].float().mean()
    assert int(half.x[7, 1, 2, 5]) == int(block + 0.5)
    assert torch.equal(full.y, half.y) and tasks.cifar10_packed(size=16).augment == tasks.Augment(2, True)


def test_fashion_mnist_is_the_published_set(needs_data):
    place = needs_data("fashion-mnist")
    data = tasks.fashion_mnist(folder=str(place), limit=100).split(0).data
    assert len(data.x) == 70_000 and data.y[:5].tolist() == [9, 0, 0, 3, 0]
    assert data.test[0] == 60_000
    assert tasks.fashion_mnist(size=14).shape == (1, 14, 14)


def test_damaged_fashion_mnist_is_named(needs_data, tmp_path):
    place = needs_data("fashion-mnist")
    for name in locate.FASHION_FILES:
        (tmp_path / name).symlink_to(place / name)
    labels = tmp_path / locate.FASHION_FILES[1]
    whole = labels.read_bytes()
    labels.unlink()
    labels.write_bytes(whole[:-100])
    with pytest.raises(DataError, match="train-labels-idx1-ubyte.gz is damaged"):
        tasks.fashion_mnist(folder=str(tmp_path)).split(0)
    labels.write_bytes(gzip.compress(gzip.decompress(whole)[:-1] + b"\x07"))
    with pytest.raises(DataError, match="not the published train-labels"):
        tasks.fashion_mnist(folder=str(tmp_path)).split(0)
    labels.unlink()
    with pytest.raises(DataAbsentError, match="should hold train-images"):
        tasks.fashion_mnist(folder=str(tmp_path)).split(0)


def test_idx_files_are_read_and_damage_is_told():
    head = bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3])
    assert fashion.idx(head + bytes(range(6)), "f").tolist() == [[0, 1, 2], [3, 4, 5]]
    for broken, says in ((b"", "not an IDX"), (head[:7], "not an IDX"), (head + b"12345", "holds 5 bytes")):
        with pytest.raises(DataError, match=says):
            fashion.idx(broken, "f")


def test_fetching_verifies_and_keeps(needs_data, tmp_path):
    place = needs_data("fashion-mnist")
    target = tmp_path / "new" / "folder"
    assert tasks.download("fashion-mnist", target, address=place.as_uri() + "/") == target
    assert sorted(p.name for p in target.iterdir()) == sorted(locate.FASHION_FILES)
    assert locate.find("fashion-mnist", str(target)) == target
    tasks.download("fashion-mnist", target, address="file:///nowhere/")  # nothing is missing, nothing is asked for


def test_what_cannot_be_fetched_is_told(tmp_path, written):
    with pytest.raises(DataAbsentError, match="cannot fetch file:///nowhere/"):
        tasks.download("fashion-mnist", tmp_path / "a", address="file:///nowhere/")
    first = locate.FASHION_FILES[0]
    written(f"bad/{first}", b"not gzip")
    with pytest.raises(DataError, match="sent a damaged file"):
        tasks.download("fashion-mnist", tmp_path / "b", address=(tmp_path / "bad").as_uri() + "/")
    written(f"bad/{first}", gzip.compress(b"something else"))
    with pytest.raises(DataError, match="SHA-256 differs"):
        tasks.download("fashion-mnist", tmp_path / "b", address=(tmp_path / "bad").as_uri() + "/")
    assert not (tmp_path / "b").exists()
    with pytest.raises(UsageError, match="cifar10 cannot be fetched; unpack"):
        tasks.download("cifar10")
    with pytest.raises(UsageError, match="did you mean 'fashion-mnist'"):
        tasks.download("fashion-mnits")


def test_both_versions_of_cifar10_hold_the_same(cifar_binary, cifar_python, cifar_images):
    one, two = (tasks.cifar10(folder=str(f)).split(0) for f in (cifar_binary, cifar_python))
    assert one.digest() == two.digest()
    assert one.size("test") == 30 and one.size("fit") + one.size("holdout") == 150
    assert (one.data.x[0].flatten().numpy() == cifar_images[0][0][0]).all()
    assert tasks.cifar10(folder=str(cifar_binary), size=16, limit=50).split(0).data.x.shape == (180, 3, 16, 16)


def test_damaged_cifar10_is_named(cifar_binary, cifar_python, cifar_images):
    (cifar_binary / "data_batch_3.bin").write_bytes(b"\0" * 5000)
    with pytest.raises(DataError, match=r"data_batch_3.bin is damaged: 5000 bytes"):
        tasks.cifar10(folder=str(cifar_binary)).split(0)
    (cifar_binary / "data_batch_3.bin").write_bytes(b"\x0b" * 3073)
    with pytest.raises(DataError, match="labels from 11 to 11"):
        tasks.cifar10(folder=str(cifar_binary)).split(0)
    x, y = cifar_images[0]
    for broken, says in (
        (b"", "not a CIFAR-10 batch"),
        (pickle.dumps([1]), "no dictionary"),
        (pickle.dumps({b"data": x}), "no entries data and labels"),
        (pickle.dumps({b"data": x[:, :7], b"labels": y}), "expected uint8"),
        (pickle.dumps({b"data": x, b"labels": y[:3]}), "30 samples but 3 labels"),
        (pickle.dumps({b"data": x, b"labels": [10] * 30}), "only 10 classes"),
    ):
        (cifar_python / "data_batch_2").write_bytes(broken)
        with pytest.raises(DataError, match=says):
            tasks.cifar10(folder=str(cifar_python)).split(0)


def test_a_pickle_cannot_run_code(cifar_python, tmp_path):
    class Evil:
        def __reduce__(self):
            return (exec, (f"open({str(tmp_path / 'ran')!r}, 'w')",))

    (cifar_python / "data_batch_1").write_bytes(pickle.dumps({b"data": Evil(), b"labels": []}))
    with pytest.raises(DataError, match="wants to load builtins.exec"):
        cifar.batch(str(cifar_python / "data_batch_1"))
    assert not (tmp_path / "ran").exists()


def test_a_damaged_packed_file_is_named(needs_data, tmp_path):
    whole = needs_data("cifar10-packed").read_bytes()
    target = tmp_path / "cifar10_jpeg_12k.npz"
    task = tasks.cifar10_packed(folder=str(tmp_path))
    with pytest.raises(DataAbsentError, match="set MIMAR_DATA"):
        task.split(0)
    for broken in (b"", whole[:1000], whole[:-1000], whole[:200_000] + b"damage" + whole[200_006:]):
        target.write_bytes(broken)
        with pytest.raises(DataError, match=r"cifar10_jpeg_12k.npz is damaged"):
            task.split(0)
    with np.load(needs_data("cifar10-packed")) as entries:
        held = dict(entries)
    for change, says in (({"length": held["length"][:-1]}, "do not fit"), ({"head": held["head"][:50]}, "image 0 is")):
        np.savez(target, **{**held, **change})
        with pytest.raises(DataError, match=says):
            task.split(0)


def test_a_folder_of_images(pictures):
    task = tasks.folder(pictures, size=16)
    bound = task.split(0)
    assert task.classes == 2 and task.labels == ("cat", "dog") and task.shape == (3, 16, 16)
    assert [bound.size(s) for s in bound.splits] == [5, 5, 8, 2, 2]
    level = [float(bound.data.x[bound.data.y == c].float().mean()) for c in (0, 1)]
    assert 40 < level[0] < 70 and 180 < level[1] < 220
    grey = tasks.named(f"folder:{pictures},size=8,channels=1")
    assert grey.shape == (1, 8, 8) and grey.split(0).data.x.dtype == torch.uint8
    assert rebuild(describe(task)) == task


def test_a_folder_that_changed_is_read_again(pictures):
    before = tasks.folder(pictures).split(0).digest()
    (pictures / "cat" / "0.png").write_bytes((pictures / "dog" / "0.png").read_bytes())
    assert tasks.folder(pictures).split(0).digest() != before


def test_a_folder_with_its_own_test_set(pictures, tmp_path):
    split = tmp_path / "split"
    split.mkdir()
    pictures.rename(split / "train")
    for name in ("cat", "dog"):
        (split / "test" / name).mkdir(parents=True)
        (split / "test" / name / "0.png").write_bytes((split / "train" / name / "0.png").read_bytes())
    task = tasks.folder(split)
    assert task.labels == ("cat", "dog") and task.split(0).size("test") == 2 and task.split(0).size("fit") == 10
    (split / "test" / "eel").mkdir()
    with pytest.raises(DataError, match="eel has no counterpart"):
        task.split(0)


def test_sixteen_bit_grey_is_scaled_not_clipped(pictures):
    from PIL import Image

    for i in range(6):
        Image.fromarray(np.full((9, 9), 32768, dtype=np.uint16)).save(pictures / "cat" / f"{i}.png")
    data = tasks.folder(pictures, size=4).split(0).data
    assert (data.x[data.y == 0] == 128).all()


def test_bad_folders_give_one_clear_sentence(pictures, tmp_path):
    with pytest.raises(DataAbsentError, match="there is no folder"):
        tasks.folder(tmp_path / "missing").split(0)
    with pytest.raises(DataError, match="0 class folders; at least two"):
        tasks.folder(pictures / "cat").split(0)
    (pictures / "cat" / "5.png").write_bytes((pictures / "cat" / "4.png").read_bytes()[:200])
    with warnings.catch_warnings(), pytest.raises(DataError, match=r"cat/5.png is not an image that can be read"):
        tasks.folder(pictures).split(0)
    (pictures / "cat" / "5.png").write_text("text")
    with pytest.raises(DataError, match=r"cat/5.png is not an image"):
        tasks.folder(pictures).split(0)
    for i in range(4):
        (pictures / "cat" / f"{i + 2}.png").unlink()
    with pytest.raises(DataError, match="class 0 has 2 samples, but 3"):
        tasks.folder(pictures).split(0)
    (pictures / "empty").mkdir()
    with pytest.raises(DataError, match="empty holds no image"):
        tasks.folder(pictures).split(0)


def test_an_unreadable_folder_is_named(pictures, monkeypatch):
    from pathlib import Path

    plain = Path.iterdir

    def refuse(self):  # the owner of this process may be allowed to read everything
        if self.name == "dog":
            raise PermissionError(13, "Permission denied")
        return plain(self)

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(DataError, match="cannot read the folder .*dog: Permission denied"):
        tasks.folder(pictures).split(0)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: tasks.cifar10_packed(size=20), "size must be 32 or 16; got 20"),
        (lambda: tasks.fashion_mnist(size=7), "size must be 28 or 14"),
        (lambda: tasks.digits(limit=5), "limit must be a whole number of at least 20"),
        (lambda: tasks.digits(limit=2.5), "limit"),
        (lambda: tasks.mnist1d(valid_fraction=1.5), "valid_fraction must be a number between 0 and 1"),
        (lambda: tasks.digits(augment="flip"), "augment must be a mimar.tasks.Augment"),
        (lambda: tasks.folder("x", size=2), "size must be a whole number from 4"),
        (lambda: tasks.folder("x", channels=2), "channels must be 1 or 3"),
        (lambda: tasks.folder(""), "path must name a folder"),
        (lambda: tasks.digits(limit=5000).split(0), "limit is 5000, but there are only 1438"),
    ],
)
def test_options_out_of_range_say_the_range(make, says):
    with pytest.raises(UsageError, match=says):
        make()
