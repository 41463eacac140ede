"""Real ranks for tests: processes of one gloo group that stay for many tasks, and the tasks they do."""

import multiprocessing
import os
import pickle
import signal
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import attrs
import torch
from torch import distributed

import fdm
from fdm._collectives import exchange


LIMIT = 240  # seconds for a task; machines may be slow


@attrs.frozen
class Ended:
    """What became of a task on one rank: what it returned, or the kind, words and notes of its error."""

    value: object = None
    kind: str = ""
    words: str = ""


class Ranks:
    """A pool of `size` ranks. `run` gives each its task, a function and arguments, and returns what became of them."""

    def __init__(self, size):
        spawn = multiprocessing.get_context("spawn")
        meeting = tempfile.mktemp()
        self.pipes, self.processes = [], []
        for rank in range(size):
            here, there = spawn.Pipe()
            self.processes.append(spawn.Process(target=serve, args=(rank, size, meeting, there), daemon=True))
            self.processes[-1].start()
            there.close()
            self.pipes.append(here)

    def run(self, *tasks):
        for pipe, task in zip(self.pipes, tasks, strict=True):
            pipe.send_bytes(pickle.dumps(task))
        return [self._answer(pipe) for pipe in self.pipes]

    def _answer(self, pipe):
        try:
            assert pipe.poll(LIMIT), "a rank hangs"
            return pickle.loads(pipe.recv_bytes())
        except (EOFError, ConnectionResetError):
            return Ended(kind="dead")

    def close(self):
        for pipe in self.pipes:
            pipe.close()
        for process in self.processes:
            process.join(LIMIT)
            process.close()


def serve(rank, size, meeting, pipe):
    torch.set_num_threads(1)
    limit = timedelta(seconds=LIMIT / 2)
    distributed.init_process_group("gloo", f"file://{meeting}", rank=rank, world_size=size, timeout=limit)
    while True:
        try:
            function, *args = pickle.loads(pipe.recv_bytes())
        except EOFError:
            os._exit(0)  # without a word to ranks that may be dead
        try:
            ended = Ended(function(*args))
        except Exception as error:  # noqa: BLE001 - told to the test
            ended = Ended(kind=type(error).__name__, words="\n".join([str(error), *getattr(error, "__notes__", ())]))
        pipe.send_bytes(pickle.dumps(ended))


# Tasks.


def numbers(n):
    return fdm.Table({"x": torch.arange(n) * 7 % 13, "label": torch.arange(n) * 5 % 3})


def evaluated(sizes, batch_size, store):
    """For each size: this rank's steps, all predictions in order, and accuracy and loss, over an evaluation."""
    told = []
    context = fdm.RankContext(distributed.get_rank(), distributed.get_world_size())
    for n in sizes:
        p = fdm.pipeline(fdm.load(numbers, n=n), fdm.batch(batch_size, ids="id"))
        correct, seen, loss = 0, 0, 0.0
        predictions, ids = [], []
        with fdm.open(p, store=store, context=context) as data:
            loader = data.loader("all")
            for batch in loader:
                predicted = batch["x"] % 3
                correct += int((predicted == batch["label"]).sum())
                loss += (batch["x"].double() / 4).sum().item()
                seen += len(predicted)
                predictions.append({"class": predicted, "text": [f"{x}" for x in batch["x"].tolist()]})
                ids.append(batch["id"])
        told.append((len(loader), fdm.gather(predictions, ids), fdm.mean({"a": correct, "l": loss}, seen)))
    return told


def to_disk(folder, ids, size, then="end"):
    """Stream these ids, `size` at a time, with values made of them; then end, or fail, or go on without end, or die."""

    def pieces():
        for start in range(0, len(ids), size):
            own = torch.tensor(ids[start : start + size])
            yield {"double": own * 2, "name": [f"n{number}" for number in own.tolist()]}, own
        if then == "fail":
            msg = "no such model"
            raise KeyError(msg)
        if then == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        while then == "go on":
            time.sleep(0.05)
            yield {"double": torch.empty(0, dtype=torch.int64), "name": []}, []

    table = fdm.gather_to(folder, pieces())
    return table["id"].tolist(), table["double"].tolist(), table["name"].tolist()


def to_disk_and_die_in_the_merge(folder, ids):
    """The same, but the rank that merges is killed in the middle."""
    from fdm._collectives import gather_to, spools

    spools.SPOOL, spools.BLOCK = 1, 1
    in_order = spools.in_order

    def first(*args):
        yield next(in_order(*args))
        os.kill(os.getpid(), signal.SIGKILL)

    gather_to.in_order = first
    return to_disk(folder, ids, 2)


def calls(folder, *names):
    """What becomes of these calls, one after the other: "" or the words of an error."""
    made = {
        "total": lambda: fdm.total(1),
        "mean": lambda: fdm.mean(1, 2),
        "gather": lambda: fdm.gather([1], [distributed.get_rank()]),
        "gather_to": lambda: fdm.gather_to(folder, [([1.0], [distributed.get_rank()])]),
        "all_gather_object": lambda: distributed.all_gather_object([None] * distributed.get_world_size(), (1, 2)),
        "second exchange": lambda: (next((ranks := exchange.ranks_of("fdm.gather", None)).times), ranks.every(1)),
    }
    told = []
    for name in names:
        try:
            made[name]()
            told.append("")
        except fdm.DataError as error:
            told.append(str(error))
    return told


def dying(function, *args):
    """On rank 1 death, elsewhere the function."""
    if distributed.get_rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return function(*args)


def of_pair(value):
    """A sum and a gather over ranks 0 and 2 of three."""
    pair = distributed.new_group([0, 2])
    return fdm.total(value, group=pair), fdm.gather([f"r{value}"], [-value], group=pair)


def below(folder):
    return sorted(path.name for path in Path(folder).iterdir())


class Stays:
    """An object that cannot be pickled."""

    def __reduce__(self):
        msg = "made to stay"
        raise TypeError(msg)


def stays():
    return Stays()
