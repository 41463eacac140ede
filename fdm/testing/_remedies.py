"""Remedies: what to write where a law is broken."""

from collections.abc import Mapping
from types import MappingProxyType


_KEY = "draw from the key that the function is given: key.uniform(), or for torch's functions key.generator()"
_OPENED = "open files in the function of fdm.load, or in __getitem__, and keep no place in them; what may be shared says .shared()"
_SEEDED = "give the function a seed as a parameter, or draw from numpy.random.default_rng(seed) in it"

REMEDIES: Mapping[str, str] = MappingProxyType(
    {
        "facts that stages use are measured": 'add fdm.measure(fn).on("train") with a function that returns the fact',
        "splits are disjoint and in range": "return each index in one split, from 0 to len(source) - 1",
        "splits do not depend on the global random state": _SEEDED,
        "orders do not depend on the global random state": _SEEDED,
        "only shuffled epochs differ in order": "the functions of weights and of sources return the same whenever they are called",
        "ranks partition the epoch": "the source has the same length and the same order whenever it is opened",
        "measures find the same facts again": f"{_SEEDED}; sum in an order that does not change",
        "sources give the same examples again": "an example is that of its index alone: move what is random into fdm.augment, "
        "or declare it: fdm.load(fn).ambient()",
        "transforms give the same output again": "a transform is of its item alone: write fdm.augment(fn) for what is random, and "
        "keep nothing between calls",
        "augments depend on their key alone": f"{_KEY}; or write fdm.augment(fdm.ambient(fn)) before batch",
        "augments draw from their key": f"{_KEY}; what is not random is fdm.transform(fn)",
        "augments draw once from a key": "draw all at once, key.uniform(2), or from a key for each purpose: one, other = "
        'key.split(2), or key.fold("angle")',
        "inputs are not changed": "return a new item, {**item, name: value} of a dict, x.clone() or x * 2 in place of x.mul_(2)",
        "batches can be made": "call the function on data.dataset(split)[i], without the stage that fails, to see its item",
        "batches are finite": 'divide by (std + 1e-6), mask what is missing, or leave the law out: without=["batches are finite"]',
        "batches have one structure": "return the same entries, of the same types, for all examples; rows of different length go "
        "into fdm.Ragged",
        "sources can be read side by side": _OPENED,
        "resuming equals skipping": "a batch is of its examples alone: keep no counters in functions or sources",
        "workers change nothing": "a batch is of its examples alone: no globals that a function changes, no place in a file",
        "threads change nothing": "a batch is of its examples alone: no globals that a function changes, no place in a file",
        "functions can be imported and pickled": "define functions and classes with def and class at the top of a module",
        "sources are the same in another process": "sort what is listed (sorted(path.iterdir())), and iterate over no set",
        "splits are the same in another process": "sort what is listed, iterate over no set, and use no hash()",
        "orders are the same in another process": "sort what is listed, iterate over no set, and use no hash()",
        "batches are the same in another process": "no globals set at run time, no set iterated over, no time or host in functions",
    }
)
"""What to write where a law is broken, by the name of the law."""
