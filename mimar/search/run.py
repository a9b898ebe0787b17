"""The consumer of a search's events: keeps the run folder, draws nothing, and returns the result.

A snapshot is taken at the end of every epoch and phase, and in between after `EVERY` steps or `SECONDS` seconds.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

import safetensors.torch
import torch

from mimar import runs
from mimar.core.describe import describe, digest
from mimar.core.errors import MimarError, OutOfMemoryError, RunError
from mimar.core.events import Event, Record
from mimar.core.state import State
from mimar.evaluators.train import network
from mimar.kernels import native, table
from mimar.search.finish import architecture
from mimar.search.ground import TableLab
from mimar.search.lab import Lab, checked_device
from mimar.search.result import Result

if TYPE_CHECKING:
    from collections.abc import Iterator

EVERY = 50  # steps
SECONDS = 60.0

Progress = Callable[[Event], None]


class Search(Protocol):
    """What can be run: a frozen description with a start, an advance and a lab."""

    @property
    def name(self) -> str: ...
    @property
    def seed(self) -> int: ...
    @property
    def device(self) -> str: ...

    def start(self) -> State: ...

    def events(self, state: State) -> Iterator[Event]: ...  # of a generator: it is closed at the end

    def lab(self) -> Lab | TableLab: ...


def header(search: Search, command: str = "") -> dict[str, Any]:
    """Return run.json: what the run is, resolved to the last option, and the command line that asked for it, if any."""
    lab, tree = search.lab(), describe(search)
    return {
        "recipe": search.name,
        "task": lab.caption,
        "data": getattr(search, "data_digest", lab.data.digest)(),
        "seed": search.seed,
        "device": search.device,
        "tree": tree,
        "hash": digest(tree),
        "space": lab.space.to_json(),
        "layout": lab.space.layout,
        "versions": runs.versions(search.device),
        "plan": plan(search),
        "command": command,
    }


def plan(search: Search) -> dict[str, Any] | None:
    """Return how the supernet is executed here: engine, kernels, the table that chooses them; None without a supernet."""
    engine = getattr(search, "engine", None)
    if engine is None:
        return None
    return {"engine": describe(engine), "kernels": native.described(), "table": table.digest()}


def run(
    search: Search,
    out: Any = None,
    *,
    resume: bool = False,
    progress: Progress | None = None,
    inexact: bool = False,
    command: str = "",
) -> Result:
    """Run `search` to the end and return its result.

    `out`: the run folder; None keeps nothing on disk. `resume=True` continues `out` where its last good snapshot
    stands: bit for bit as if it had not stopped, on the same device and thread count; elsewhere only with
    `inexact=True`. `progress` sees every event. `command` is kept for the report: the words that make the run again.
    Ctrl-C ends the step at hand, saves, and raises KeyboardInterrupt.
    Raises RunError where the folder belongs to another search, and OutOfMemoryError with what to make smaller.
    """
    checked_device(search.device)
    warned: list[str] = []

    def tell(event: Event) -> None:
        if isinstance(event, Record) and event.data["event"] == "warned":
            warned.append(event.data["text"])
        if progress:
            progress(event)

    try:
        if out is None:
            if resume:
                raise RunError("resume=True needs the folder of the run: run(folder, resume=True)")
            return replace(_in_memory(search, tell), warnings=tuple(warned))
        fresh = None if resume else search.start()  # what is wrong with the options is said before a folder is made
        with _repeatable(), _opened(search, Path(out), resume, inexact, command) as store, _Interrupts() as interrupts:
            found = _stored(search, store, fresh, tell, interrupts)
            earlier = [e["text"] for e in store.events() if e.get("event") == "warned"]
            return replace(found, warnings=tuple(dict.fromkeys([*earlier, *warned])))
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MimarError) or not _memory(error):
            raise
        raise OutOfMemoryError(
            f"out of memory on {search.device}: make the batch, the channels or the cells smaller, or the images"
        ) from error


def _in_memory(search: Search, tell: Progress) -> Result:
    begun, state = time.monotonic(), search.start()
    for event in search.events(state):
        tell(event)
    return _result(search, state, state.json["result"], time.monotonic() - begun, None)


def _opened(search: Search, folder: Path, resume: bool, inexact: bool, command: str) -> runs.Store:
    if not resume:
        return runs.create(folder, header(search, command))
    with runs.open_run(folder) as found:
        _same(header(search), found.header, folder, inexact)
    return runs.open_run(folder, write=True)


def _same(ours: dict[str, Any], theirs: dict[str, Any], folder: Path, inexact: bool) -> None:
    """Raise RunError unless a run can be continued by this search, with this data, on this machine."""
    for key, what in (("hash", "another recipe or other options"), ("data", "other data")):
        if ours[key] != theirs.get(key):
            raise RunError(
                f"{folder} was made with {what} ({key} {theirs.get(key)}, now {ours[key]}); give the same ones again "
                "(a model of your own counts with its initial weights: seed them)"
            )
    for key in () if inexact else ("torch", "threads", "device", "instructions"):
        before, now = theirs["versions"].get(key), ours["versions"].get(key)
        if before != now:
            raise RunError(
                f"{folder} cannot continue bit for bit here: {key} was {before!r} and is {now!r}; "
                "go on with --inexact (from Python inexact=True), or where it was begun"
            )
    before, now = theirs.get("plan", ours["plan"]), ours["plan"]
    if before != now and not inexact:
        what = next(k for k in now if before.get(k) != now[k])
        raise RunError(
            f"{folder} cannot continue bit for bit here: its plan has the {what} {before.get(what)!r}, now {now[what]!r}; "
            "go on with --inexact (from Python inexact=True), or give the same engine and kernels"
        )


def _repeatable() -> Any:
    """Return a context in which cuDNN takes deterministic kernels, chosen without timing them; nothing on a CPU."""
    return torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=torch.backends.cudnn.allow_tf32
    )


class _Interrupts:
    """Holds a first Ctrl-C back until the step at hand is done; a second one acts at once."""

    def __init__(self) -> None:
        self.pending = False
        self.before: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self.before = signal.signal(signal.SIGINT, self._hold)
        return self

    def __exit__(self, *_: object) -> None:
        if self.before is not None:
            signal.signal(signal.SIGINT, self.before)

    def _hold(self, *_: object) -> None:
        if self.pending:
            raise KeyboardInterrupt
        self.pending = True


def _stored(search: Search, store: runs.Store, fresh: State | None, tell: Progress, interrupts: _Interrupts) -> Result:
    held = store.latest()
    for text in store.damage:
        tell(Record({"event": "warned", "name": "damage", "text": f"{store.folder}: {text}"}, logged=False))
    state = State(*held) if held else fresh or search.start()
    spent = float(state.json.pop("seconds", 0.0))
    begun, saved, steps = time.monotonic(), time.monotonic(), 0

    def save() -> None:
        json = {**state.json, "seconds": spent + time.monotonic() - begun}
        store.snapshot(json, state.tensors)

    events: Any = search.events(state)
    with closing(events):  # at an interrupt too: processes that a search has started end with it
        for event in events:
            tell(event)
            if isinstance(event, Record):
                if event.logged:
                    store.append(event.data)
                continue
            steps += 1
            if event.boundary or interrupts.pending or steps >= EVERY or time.monotonic() - saved >= SECONDS:
                save()
                saved, steps = time.monotonic(), 0
            if interrupts.pending:
                raise KeyboardInterrupt
    found = _result(search, state, state.json["result"], spent + time.monotonic() - begun, str(store.folder))
    if found.model is not None:
        kept = {n: t.contiguous() for n, t in state.group("final").items()}
        store.write("model.safetensors", safetensors.torch.save(kept))
    store.write("result.json", found.to_json() + "\n")
    return found


def _result(search: Search, state: State, data: dict[str, Any], seconds: float, folder: str | None) -> Result:
    chosen, final = architecture(data["architecture"]), state.group("final")
    lab = search.lab()
    model = network(lab.final, chosen, final) if isinstance(lab, Lab) else None
    return Result(chosen, model, data["metrics"], data["baseline"], data, seconds, folder)


def _memory(error: BaseException) -> bool:
    text = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text
