"""A script that ends in the middle of a function of its pipeline, as $HOW says: `ending.py PLACE STORE`."""

import os
import signal
import sys

import torch

import fdm


def end():
    how = os.environ["HOW"]
    if how == "exit":
        sys.exit()
    if how == "exit 0":
        sys.exit(0)
    if how == "exit 7":
        sys.exit(7)
    if how == "exit words":
        sys.exit("no data here")
    if how == "interrupt":
        raise KeyboardInterrupt
    if how == "generator":
        raise GeneratorExit
    if how == "signal":
        os.kill(os.getpid(), signal.SIGTERM)


def on_signal(*_):
    sys.exit(0)


def rows():
    return list(range(8))


def ends(*_, **__):
    end()


def ends_on_item(item):
    end()
    return item


def ends_on_part(part):
    end()
    return fdm.Table({"x": torch.arange(2)})


def one_part():
    return ["only"]


class Ending:
    def __len__(self):
        return 8

    def __getitem__(self, index):
        end()


def ending():
    return Ending()


def ends_to(into):
    end()


ITEM = fdm.transform(ends_on_item)
STAGES = {
    "load": (fdm.load(ends),),
    "clean": (fdm.clean(ends).version("1"),),
    "fetch": (fdm.fetch(ends_to).version("1"), fdm.clean(ends).version("1")),
    "each": (fdm.clean(ends_on_part).each(one_part).version("1"),),
    "split": (fdm.load(rows), fdm.split(ends).version("1")),
    "measure": (fdm.load(rows), fdm.measure(ends).on("all").version("1")),
    "sample": (fdm.load(rows), fdm.sample(ends), fdm.batch(2)),
    "reading": (fdm.load(ending), fdm.batch(2)),
    "transform": (fdm.load(rows), ITEM, fdm.batch(2)),
    "collate": (fdm.load(rows), fdm.batch(2, collate=ends_on_item)),
    "batch": (fdm.load(rows), fdm.batch(2), ITEM),
    "device": (fdm.load(rows), fdm.batch(2), fdm.transfer(), ITEM),
    "workers": (fdm.load(rows), ITEM, fdm.batch(2)),
    "threads": (fdm.load(rows), ITEM, fdm.batch(2)),
}
p = fdm.pipeline(*STAGES[os.environ.get("PLACE", "transform")])
OPTIONS = {"workers": {"workers": 1}, "threads": {"threads": 2}}


def go(place, store):
    with fdm.open(fdm.pipeline(*STAGES[place]), store=store, **OPTIONS.get(place, {})) as data:
        list(data.loader("all", epoch=0))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, on_signal)
    go(*sys.argv[1:3])
