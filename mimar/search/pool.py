"""Trainings in processes of their own, some at a time: one that fails or is killed costs itself alone.

    repeat   begin jobs while workers are free;   wait for one to end;   tell it

Results are told in the order in which they end, which is the machine's affair; each training itself is the same whoever
runs it. The log says what began and what ended, so that telling it again leads to the same state. What was under way when
a run was stopped begins anew.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple, Self

import safetensors.torch
import torch

from mimar.core.errors import MimarError, RunError, UsageError
from mimar.core.events import Event, Record, Step
from mimar.core.state import State
from mimar.evaluators import Retrain, training
from mimar.evaluators.train import Job as Training
from mimar.schedulers import Job
from mimar.search.lab import Lab
from mimar.search.session import Session
from mimar.search.trained import TrainedNets
from mimar.space import Measurement

TICK = 0.5  # seconds between two looks at whether the run is to stop
KILLED = "its process was killed, by hand or because the memory was used up"


class Worker(NamedTuple):
    """A process that does one thing after the other, and the pipe by which it gets them and answers."""

    process: Any
    pipe: Connection

    def ended(self) -> str:
        """Wait for a process that has closed its pipe, and say how it ended."""
        self.process.join()
        self.pipe.close()
        code = self.process.exitcode
        return KILLED if code == -signal.SIGKILL else f"its process ended with exit code {code}"


def spawned(serve: Callable[..., None], *given: Any, daemon: bool = False) -> Worker:
    """Start `serve(*given, pipe)` in a fresh process; its death ends our reading of the pipe.

    A daemon ends with this process, and can start none of its own.
    """
    context = multiprocessing.get_context("spawn")
    ours, its = context.Pipe()
    process = context.Process(target=serve, args=(*given, its), daemon=daemon)
    with _without_interrupts():  # the child begins without them too, until it can answer one
        process.start()
    its.close()
    return Worker(process, ours)


def alone() -> None:
    """Set this process apart: a terminal's Ctrl-C reaches the parent alone, and the parent's death ends this one too."""
    os.setsid()
    threading.Thread(target=_watch, daemon=True).start()


def _watch() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _without_interrupts() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Answer(NamedTuple):
    """What came of a training: its record and its network's tensors, or the sentence of its failure; how long it took."""

    found: dict[str, Any] | None
    tensors: bytes = b""
    failure: str = ""
    seconds: float | None = None


class Pool:
    """Up to `workers` processes that train the networks of a lab; used in a `with`, which ends them all."""

    def __init__(self, lab: Lab, retrain: Retrain, workers: int) -> None:
        self.workers = workers
        self.idle: list[Worker] = []
        self.running: dict[Connection, tuple[int, float, Worker]] = {}
        self.fresh: set[Connection] = set()  # of workers that have not yet said that they are there
        try:
            self.order = pickle.dumps((lab.order, retrain))
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise UsageError(
                f"trials.workers={workers} sends net and task to other processes, and one of them cannot be sent "
                f"({' '.join(str(error).split())[:200]}): define its class in a module, or take trials.workers=1"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for worker in (*self.idle, *(worker for _, _, worker in self.running.values())):
            worker.process.terminate()
            worker.process.join()
            worker.pipe.close()
        self.idle, self.running, self.fresh = [], {}, set()

    def start(self, number: int, job: Job) -> None:
        """Let a worker that waits, else a new one, train the network of a job."""
        worker = self._free()
        try:
            worker.pipe.send_bytes(pickle.dumps((f"random-{number}", job.fidelity, job.proposal.architecture)))
        except OSError:
            if worker.pipe not in self.fresh:  # killed while it waited; of a fresh one the answer says why
                worker.ended()
                return self.start(number, job)
        self.running[worker.pipe] = number, time.monotonic(), worker

    def ended(self, seconds: float) -> list[tuple[int, Answer]]:
        """Wait, for a time at most, and return (number, answer) of the trainings that have ended.

        Raises RunError where a process cannot even begin.
        """
        ready = wait(list(self.running), seconds)
        found = []
        for pipe in [p for p in self.running if p in ready]:
            answer = self._answer(self.running[pipe][2])
            if answer is not None:
                number, begun, _ = self.running.pop(pipe)
                lasted = time.monotonic() - begun if answer.seconds is None else answer.seconds
                found.append((number, answer._replace(seconds=lasted)))
        return found

    def _answer(self, worker: Worker) -> Answer | None:
        """Return what a worker says of its training; None where it only says that it is there."""
        try:
            said: str | Answer = pickle.loads(worker.pipe.recv_bytes())
        except (EOFError, OSError):
            said = worker.ended()
            if worker.pipe in self.fresh and said != KILLED:
                said += "; a script that searches with several workers needs: if __name__ == '__main__':"
                raise RunError(f"no process can be started to train in: {said}") from None
            self.fresh.discard(worker.pipe)
            return Answer(None, failure=said)
        if isinstance(said, Answer):
            self.idle.append(worker)
            return said
        self.fresh.discard(worker.pipe)
        if said:
            raise RunError(f"no process can be started to train in: {said}")
        return None

    def _free(self) -> Worker:
        while self.idle:
            worker = self.idle.pop()
            if worker.process.is_alive():
                return worker
            worker.pipe.close()
        worker = spawned(serve, daemon=True)
        with suppress(OSError):
            worker.pipe.send_bytes(self.order)
        self.fresh.add(worker.pipe)
        return worker


def serve(pipe: Connection) -> None:
    """Train the networks that come through `pipe`, on one thread, until it closes."""
    alone()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    try:
        try:
            order, retrain = pickle.loads(pipe.recv_bytes())
            nets = TrainedNets(Lab(**order), retrain)
            _ = nets.lab.final, nets.lab.data
        except Exception as error:  # noqa: BLE001 - whatever it is, the parent ends with it
            pipe.send_bytes(pickle.dumps(_sentence(error)))
            return
        pipe.send_bytes(pickle.dumps(""))
        while True:
            pipe.send_bytes(pickle.dumps(_trained(nets, *pickle.loads(pipe.recv_bytes()))))
    except (EOFError, OSError):  # no more trainings; no parent
        return


def _trained(nets: TrainedNets, label: str, fidelity: float | None, architecture: Any) -> Answer:
    lab, state, begun = nets.lab, State(), time.monotonic()
    job = Training(label, "baseline", label, lab.final, architecture, lab.data, lab.seed, lab.device)
    try:
        for event in training(nets.part(fidelity), job, state):
            if isinstance(event, Record) and event.data["event"] == "trained":
                net = {name: t.detach().cpu().contiguous() for name, t in state.group("net").items()}
                return Answer(event.data, safetensors.torch.save(net), seconds=time.monotonic() - begun)
    except Exception as error:  # noqa: BLE001 - whatever it is, it costs this training alone and is written down
        return Answer(None, failure=_sentence(error), seconds=time.monotonic() - begun)
    raise AssertionError("a training ends with its record")


def _sentence(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, MimarError) else f"unexpected {type(error).__name__}: {text[:300]}"


def events(lab: Lab, retrain: Retrain, session: Session, state: State) -> Iterator[Event]:
    """Search with as many workers as the session has, until nothing is left to begin; the state is that of the search.

    "trained" of the state's JSON gets what ended, "final/" of its tensors the incumbent's network, "worked" the seconds of
    all trainings and of the search.
    """
    json, most = state.json, session.terms.queries or 0
    worked = json.setdefault("worked", {"trainings": 0.0, "search": 0.0})
    before, begun = worked["search"], time.monotonic()
    with Pool(lab, retrain, session.terms.workers) as pool:
        for one in session.running:
            pool.start(one.number, one.job)
        while True:
            while (job := session.begin()) is not None:
                number = session.launch(job)
                yield Record({"event": "begun", "number": number, "fidelity": job.fidelity, "since": job.since})
                pool.start(number, job)
                json["session"] = session.state_dict()
            if not session.running:
                break
            yield Step("search", "search", len(session.trials), most, {"queries": session.ledger.queries})
            ended = pool.ended(TICK)
            for number, answer in ended:
                worked["trainings"] += answer.seconds or 0.0
                yield from _told(session, state, number, answer)
            worked["search"] = before + time.monotonic() - begun
            if ended:
                json["session"] = session.state_dict()
                yield Step("search", "search", len(session.trials), most, {"queries": session.ledger.queries}, True)
    session.finish()
    json.update(phase="baseline", session=session.state_dict())


def worked(session: Session, state: State) -> dict[str, Any]:
    """Return how many workers there were, and the share of the search's time for which they trained."""
    seconds, count = state.json["worked"], session.terms.workers
    return {"count": count, "utilisation": round(seconds["trainings"] / max(count * seconds["search"], 1e-9), 4)}


def _told(session: Session, state: State, number: int, answer: Answer) -> Iterator[Event]:
    """Tell what came of a training, and keep the network of an incumbent."""
    evaluator: Any = session.terms.evaluator
    result, label = Measurement({}, 0.0, "failed"), f"random-{number}"
    job = next(one.job for one in session.running if one.number == number)
    if answer.found is not None:
        result = evaluator.measurement(answer.found)
        if session.promising(job, result, number):
            net = safetensors.torch.load(answer.tensors)
            state.drop("final")
            state.put("final", net.keys(), net.values())
        state.json["trained"].append({k: answer.found[k] for k in ("network", "architecture", "metrics", "budget")})
        yield Record(answer.found)
    else:
        yield Record({"event": "warned", "name": label, "text": f"{label} failed: {answer.failure}"})
    yield Record({"event": "trial", **session.ended(number, result).to_json()})
