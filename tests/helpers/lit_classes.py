"""Datamodule classes as users name them, in a module of their own."""

from lit import PLAIN, SPLIT, noisy, table

import fdm
from fdm.lightning import datamodule_class


def digits(batch_size: int = 4, n: int = 40) -> fdm.Pipeline:
    """Numbers.

    Args:
        batch_size: examples in a batch
        n: how many numbers there are
    """
    steps = fdm.shuffle().on("train"), fdm.batch(batch_size), fdm.transfer(), fdm.augment(noisy)
    return fdm.pipeline(fdm.load(table, n=n), SPLIT, *steps, seed=3)


def with_many(first: int, /, *sizes: int, kind: str = "plain", **more: int) -> fdm.Pipeline:
    return fdm.replace(PLAIN, fdm.batch(first + sum(sizes) + sum(more.values())))


def with_workers(workers: int = 4, store: str = "none") -> fdm.Pipeline:
    """A factory whose own arguments have names of an executor's."""
    return fdm.replace(PLAIN, fdm.batch(workers))


class Digits(datamodule_class(digits)):
    """Named by a class."""

    kind = "digits"


class Larger(Digits):
    def __init__(self, batch_size: int = 8, **more):
        super().__init__(batch_size=batch_size, **more)


Named = datamodule_class(digits)
Threaded = datamodule_class(digits, threads=2)
Many = datamodule_class(with_many)
Clashing = datamodule_class(with_workers, threads=1)
Plain = datamodule_class(digits, save_hyperparameters=False)


class Holds:
    Inner = datamodule_class(digits)


One = Other = datamodule_class(digits)
First, number = datamodule_class(digits), 1
Second, Third = datamodule_class(digits), datamodule_class(digits)
Holds.Later = datamodule_class(digits)
(Walrus := datamodule_class(digits))  # noqa: PLW0131 - a name it gives all the same
in_a_dict = {"k": datamodule_class(digits)}
in_a_call = next(iter([datamodule_class(digits)]))
attribute_of_one = datamodule_class(digits).__mro__


def local():
    Local = datamodule_class(digits)  # noqa: N806
    return Local  # noqa: RET504 - to have a name
