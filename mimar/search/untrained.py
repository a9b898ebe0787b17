"""Scores of untrained networks in the place of trainings: a search takes minutes, and what it finds is trained afterwards."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from torch import nn

from mimar import nets
from mimar.core.errors import UsageError
from mimar.core.ranges import Batch, Count, validate
from mimar.core.reading import part
from mimar.core.streams import derive, isolated, stream
from mimar.evaluators import proxies
from mimar.evaluators.proxies import Proxy
from mimar.evaluators.proxy import Proxies
from mimar.search.ground import Known, TableLab
from mimar.search.lab import Lab
from mimar.tasks.protocol import Batch as Samples

# published layout: (a small net of it, the shape of its images, their classes), for tables, which have figures alone
NETS = {"nasbench201": ("nasbench201:cells=1,channels=8", (3, 16, 16), 10)}


@dataclass(frozen=True)
class Untrained:
    """An architecture is measured by scores of its untrained network: `proxy` names them ("synflow", "naswot+params").

    `batch` samples: of the task's training half, or "noise", which most scores find as good; `draws`: initialisations that
    a score is averaged over. On a table the networks are small ones of its layout, on noise.
    """

    proxy: str | Proxy = "synflow"
    batch: Batch = 16
    images: Literal["task", "noise"] = "task"
    draws: Count = 1
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)
        self.parts()

    @staticmethod
    def named(rest: str) -> Untrained:
        """Return what "synflow:batch=32,draws=3" says."""
        name, _, options = rest.partition(":")
        return replace(part(Untrained, options, "proxy"), proxy=name.strip())

    def parts(self) -> dict[str, Proxy]:
        """Return {name: score}, the primary one first; raises UsageError naming the nearest of unknown ones."""
        given = self.proxy.split("+") if isinstance(self.proxy, str) else [self.proxy]
        return dict(zip(proxies.labels(given), map(proxies.named, given), strict=True))

    def on(self, lab: Lab | TableLab, seed: int, device: str) -> Proxies:
        """Return the evaluator of a search."""
        model, batch = subject(lab, seed, device, self.batch, self.images)
        free: dict[str, Any] = {}
        if isinstance(lab, TableLab):
            free = {"known": lab.table.costs, "sizes": tuple(c.measure for c in lab.table.known)}
        elif lab.larger is not None:
            free = {"known": Known(lab)}
        return Proxies(model, batch, self.parts(), seed, self.draws, **free)


def subject(
    lab: Lab | TableLab, seed: int, device: str, size: int, images: Literal["task", "noise"] = "task"
) -> tuple[nn.Module, Samples]:
    """Return the model whose untrained networks are scored, the one that is searched, and the batch.

    Raises UsageError on a table without networks.
    """
    if isinstance(lab, TableLab):
        name, shape, classes = _net(lab)
        with isolated(derive(seed, "model")):
            model = nets.named(name, in_channels=shape[0], classes=classes, affine=True)
        return model, proxies.noise(shape, classes, size, seed, device)
    model = lab.final if lab.larger is None else lab.supernet.model
    if images == "noise":
        return model, proxies.noise(lab.data.task.shape, lab.data.task.classes, size, seed, device)
    return model, lab.data.sample("train", stream(seed, "proxy batch"), size=size, device=device)


def _net(lab: TableLab) -> tuple[str, tuple[int, ...], int]:
    layout = lab.space.layout
    if layout not in NETS:
        raise UsageError(
            f"{lab.table.name} is a table of figures alone: scores of networks need a task with data, or a table of "
            f"the layout {', '.join(NETS)}"
        )
    return NETS[layout]
