"""Names, options in names, places, and what importing the room loads."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mimar import tasks
from mimar.core.errors import DataAbsentError, UsageError
from mimar.tasks import locate


def test_every_name_has_a_task_a_description_and_a_place(nowhere):
    assert tasks.names()[0] == "digits"
    for name in tasks.names():
        task = tasks.named(f"{name}:somewhere" if name == "folder" else name)
        assert task.name == name and tasks.about(name)
        assert tasks.info(name).count("\n") == 0 and tasks.info(name).startswith(name)


def test_options_are_read_by_type():
    task = tasks.named("cifar10_packed: size=16, limit=2000, valid_fraction=0.25, augment=none")
    assert task == tasks.cifar10_packed(size=16, limit=2000, valid_fraction=0.25, augment=None)
    assert tasks.named("digits:limit=none") == tasks.digits()
    assert tasks.named("fashion-mnist:folder=/data/fm").folder == "/data/fm"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("digit", "unknown task 'digit'; did you mean 'digits'"),
        ("imagenet", "unknown task 'imagenet'; there is cifar10"),
        ("arrays", r"mimar.tasks.arrays\(x, y\)"),
        ("digits:limits=100", "unknown option of the task digits 'limits'; did you mean 'limit'"),
        ("digits:limit", "is key=value; got 'limit'"),
        ("digits:limit=many", "limit of the task digits must be a whole number; got 'many'"),
        ("digits:valid_fraction=half", "must be a number"),
        ("digits:augment=flip", "can only be none here"),
        ("digits:name=x", "unknown option"),
        ("cifar10-packed:size=17", "size must be 32 or 16"),
        ("folder", "needs a path"),
        ("folder:/data/x,sizes=8", "did you mean 'size'"),
        ("folder:/data/x,path=8", "unknown option"),
    ],
)
def test_wrong_names_and_options_are_told(text, says):
    with pytest.raises(UsageError, match=says):
        tasks.named(text)


def test_a_path_may_hold_commas_colons_and_equals_signs(tmp_path):
    odd = tmp_path / "a,size=3:b"
    odd.mkdir()
    task = tasks.named(f"folder:{odd},size=8")
    assert task.path == str(odd) and task.size == 8
    assert tasks.named(f"folder:{odd}").path == str(odd)


def test_relative_paths_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert tasks.folder("mine").path == str(tmp_path / "mine")


def test_places_are_searched_in_order(nowhere, written):
    with pytest.raises(DataAbsentError, match="cifar10-packed is not on this machine .*set MIMAR_DATA"):
        locate.find("cifar10-packed")
    cached = written("cache/mimar/cifar10_jpeg_12k.npz", b"x")
    assert locate.find("cifar10-packed") == cached
    first = written("data/tasks/cifar10_jpeg_12k.npz", b"x")
    assert locate.find("cifar10-packed") == first
    table = written("data/nas/some_table.npz", b"x")
    assert locate.find("nas/some_table.npz") == table
    with pytest.raises(DataAbsentError, match="nas/other.npz is not on this machine"):
        locate.find("nas/other.npz")
    with pytest.raises(UsageError, match="did you mean 'fashion-mnist'"):
        locate.find("fashion-mnis")


def test_a_set_needs_all_its_files(nowhere, written, cifar_binary):
    for name in locate.CIFAR_BINARY[:-1]:
        written(f"data/cifar10/cifar-10-batches-bin/{name}", (cifar_binary / name).read_bytes())
    assert "not on this machine" in tasks.info("cifar10")
    with pytest.raises(DataAbsentError, match="cifar-10-binary.tar.gz"):
        tasks.cifar10().split(0)
    last = locate.CIFAR_BINARY[-1]
    written(f"data/cifar10/cifar-10-batches-bin/{last}", (cifar_binary / last).read_bytes())
    assert tasks.info("cifar10") == f"cifar10: found in {nowhere / 'data/cifar10/cifar-10-batches-bin'}"
    assert tasks.cifar10().split(0).size("test") == 30


def test_names_need_no_torch_and_tasks_no_reader():
    light = "from mimar.tasks import naming, locate; naming.names(); naming.info('digits')"
    room = "from mimar import tasks; [getattr(tasks, n) for n in tasks.__all__]; tasks.digits(); tasks.named('mnist1d')"
    for code, heavy in ((light, ("torch", "numpy")), (room, ("sklearn", "PIL", "mnist1d", "matplotlib", "scipy"))):
        check = f"{code}; import sys; print([m for m in {heavy!r} if m in sys.modules])"
        found = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True).stdout
        assert found.strip() == "[]", (code, found)


def test_public_names_all_exist_and_others_do_not():
    for name in tasks.__all__:
        assert getattr(tasks, name) is not None
    assert dir(tasks) == sorted(tasks.__all__)
    with pytest.raises(AttributeError, match="no attribute 'digitz'"):
        _ = tasks.digitz
