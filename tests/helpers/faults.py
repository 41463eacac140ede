"""Faults: functions of stages that break a law, each in a way that people do, for `fdm.testing.check` to find."""

import multiprocessing
import random
import threading
import time
from pathlib import Path

import attrs
import numpy as np
import torch
from torch.utils.data import get_worker_info

import fdm
from fdm.testing import example_table


class Words:
    """A dataset without any fault: words, one after the other."""

    def __init__(self, words):
        self.words = words

    def __len__(self):
        return len(self.words)

    def __getitem__(self, index):
        return {"word": self.words[index], "x": torch.tensor(float(index))}


class Noisy(Words):
    """Augments where it reads, as many datasets do."""

    def __getitem__(self, index):
        return {**super().__getitem__(index), "noise": random.random()}


class Wearing(Words):
    """Changes what it holds when it is read."""

    def __getitem__(self, index):
        self.words[index] += "!"
        return super().__getitem__(index)


def words_of_a_set():
    return Words(list({f"word{number}" for number in range(20)}))


def noisy_words():
    return Noisy([f"word{number}" for number in range(20)])


def wearing_words():
    return Wearing([f"word{number}" for number in range(20)])


def more_in_another_process(n):
    return example_table(n + int(multiprocessing.parent_process() is not None))


def random_halves(source):
    order = np.random.permutation(len(source))
    return {"train": order[: len(order) // 2], "val": order[len(order) // 2 :]}


def random_thirds(source):
    order = torch.randperm(len(source))
    return {"one": order[: len(order) // 3], "rest": order[len(order) // 3 :]}


def halves_by_hash(source):
    names = np.array([hash(f"row {row}") % 2 for row in range(len(source))], dtype=bool)
    return {"train": np.flatnonzero(names), "val": np.flatnonzero(~names)}


def overlapping_halves(source):
    return {"train": range(len(source) // 2 + 1), "val": range(len(source) // 2, len(source))}


def estimated_mean(source):
    return {"mean": source["weight"][torch.randint(len(source), (3,))].mean() + torch.rand(())}


def random_weights(source):
    return torch.rand(len(source)) + 0.1


def noisy(item):
    return {**item, "noisy": item["row"] + torch.rand(())}


def numpy_noisy(item):
    return {**item, "noisy": np.random.rand()}


def unseeded(item):
    return {**item, "noisy": item["row"] + np.random.default_rng().random()}


def timed(item):
    return {**item, "at": time.perf_counter()}


def scaled_in_place(item):
    item["weight"] *= 2
    return item


def extended_in_place(item):
    item["more"] = item["row"] + 1
    return {**item}


COUNT = iter(range(10**9))


def counted(item):
    return {**item, "count": next(COUNT)}


MOST = {"row": 0}


def running_most(item):
    MOST["row"] = max(MOST["row"], int(item["row"].max()))
    return {**item, "most": MOST["row"]}


def in_a_worker(item):
    return {**item, "worker": 0 if get_worker_info() is None else 1}


def in_a_thread(item):
    return {**item, "thread": 0 if threading.current_thread() is threading.main_thread() else 1}


def in_a_process(item):
    return {**item, "process": int(multiprocessing.parent_process() is not None)}


def logarithm(item):
    return {**item, "log": (item["row"].float() - 3).log()}


def divided_when_even(item):
    return {**item, "half": item["row"] / 2 if int(item["row"].sum()) % 2 else item["row"]}


def only_for_some(item):
    return {**item, "odd": 1} if int(item["row"][0]) % 16 == 0 else item


def failing_at_seven(item):
    if int(item["row"]) == 7:
        msg = "seven is not for me"
        raise ZeroDivisionError(msg)
    return item


def ignoring(item, key):
    return {**item, "noise": item["row"] + 1}


def drawing_twice(item, key):
    return {**item, "noise": key.uniform() + key.uniform()}


def ignoring_for_the_global_state(item, key):
    return {**item, "noise": random.random()}


def half_ignoring(item, key):
    return {**item, "noise": key.uniform() + torch.rand(())}


def changing_augment(item, key):
    item["weight"] = item["weight"].clone()
    item["row"] += 1
    return item


def random_collate(examples):
    return {"row": torch.stack([example["row"] for example in random.sample(examples, len(examples))])}


def greedy_collate(examples):
    return {"row": torch.stack([example.pop("row") for example in examples])}


if multiprocessing.current_process().name == "MainProcess":

    def here_alone(item):
        return item


@attrs.frozen
class Unpicklable:
    """A value of a stage that pickle refuses."""

    by: int

    def __call__(self, item):
        return {**item, "more": item["row"] + self.by}

    def __deepcopy__(self, _):
        return self

    def __reduce__(self):
        msg = "this stays here"
        raise TypeError(msg)


def normalized(item, *, mean):
    return {**item, "weight": item["weight"] - mean}


def most(source):
    return {"most": source["row"].max()}


class Pairs:
    """A dataset without any fault, of tuples."""

    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        return torch.full((3,), float(index)), index % 3


class Collated:
    """A batch of a type of one's own."""

    def __init__(self, x):
        self.x = x

    def to(self, device):
        return Collated(self.x.to(device))


def rows_in_a_list():
    return [{"row": torch.tensor(number), "weight": torch.tensor(1.0)} for number in range(20)]


class Held(Pairs):
    """Holds what pickle refuses."""

    def __init__(self, n):
        super().__init__(n)
        self.lock = threading.Lock()


def held_pairs(n):
    return Held(n)


def list_of_held(n):
    return [Held(1) for _ in range(n)]


def first_of(held):
    return held[0]


class OneFile:
    """Every read moves what all readers share."""

    def __init__(self):
        self.at = 0

    def __len__(self):
        return 40

    def __getitem__(self, index):
        self.at = index
        time.sleep(0)
        return {"row": torch.tensor(self.at)}


def one_file():
    return OneFile()


def pairs(n):
    return Pairs(n)


def collated(found):
    return Collated(torch.stack([x for x, _ in found]))


def shaken(item):
    return item[0] + torch.rand(3), item[1]


def sequences(n):
    return fdm.Table({"tokens": fdm.Ragged.of([torch.arange(number % 5 + 1) for number in range(n)])})


def padded(batch):
    return {"tokens": batch["tokens"].padded(0), "mask": batch["tokens"].mask()}


def few_files():
    return ["abc.py", "bisect.py", "stat.py"]


def journaled(*, journal):
    with Path(journal).open("a") as file:
        file.write("cleaned\n")
    return example_table(20)


ROWS = fdm.load(example_table, n=40)
HALVES = fdm.split({"train": 0.5, "val": None})
