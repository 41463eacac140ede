"""Parameters that others have, who come from torch, Lightning or Hugging Face, and what to write here."""

from collections.abc import Mapping
from types import MappingProxyType


EVERYWHERE: Mapping[str, str] = MappingProxyType(
    {
        "batch_size": "the size of batches is a stage's: fdm.batch(32), in a finished pipeline fdm.replace(p, fdm.batch(32))",
        "shuffle": 'the order is a stage\'s, before batch: fdm.shuffle().on("train"), in a finished pipeline '
        'fdm.insert(p, fdm.shuffle().on("train"))',
        "sampler": "the order is a stage's, before batch: fdm.shuffle(), or fdm.sample(weights); ranks have their shares by "
        "themselves",
        "batch_sampler": "what stands together in a batch is decided by stages: fdm.batch(32, alike=column) puts like "
        "lengths together, fdm.sample(weights) draws by weights",
        "num_workers": "speed is the executor's: fdm.open(p, workers=4)",
        "pin_memory": "speed is the executor's: fdm.open(p, pin_memory=True)",
        "prefetch_factor": "speed is the executor's: fdm.open(p, workers=4, prefetch=2)",
        "persistent_workers": "workers stay for all epochs: fdm.open(p, workers=4)",
        "multiprocessing_context": 'speed is the executor\'s: fdm.open(p, start_method="spawn")',
        "timeout": "a worker that dies is told as an error; leave it out",
        "worker_init_fn": "each worker calls the function of fdm.load anew, and draws come from keys; leave it out",
        "generator": "draws come from seeds: fdm.pipeline(..., seed=0)",
        "collate_fn": "it is a stage's: fdm.batch(32, collate=fn)",
        "drop_remainder": "that is drop_last: fdm.batch(32, drop_last=True)",
        "random_state": "that is seed: seed=0",
        "device": 'the device is the executor\'s: fdm.open(p, context=fdm.RankContext(device="cuda")), and fdm.transfer() is '
        "where batches move there",
        "dataset": "data comes from a stage: fdm.load(fn), where fn() returns the dataset",
        "transform": "that is a stage: fdm.transform(fn), before batch for one example at a time",
    }
)
"""What to write in place of parameters that others have, wherever they are written."""

PARAMETERS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "batch": {
            "batch_size": "the size comes first: fdm.batch(32)",
            "size_per_rank": "the size is that of a rank: fdm.batch(32)",
            "collate_fn": "that is collate: fdm.batch(32, collate=fn)",
            "padding": 'rows of different length are fdm.Ragged in a batch: batch["x"].padded(0)',
            "pad": 'rows of different length are fdm.Ragged in a batch: batch["x"].padded(0)',
        },
        "split": {
            "train_size": 'sizes are a mapping: fdm.split({"train": 0.8, "val": None})',
            "test_size": 'sizes are a mapping: fdm.split({"train": None, "test": 0.2})',
            "lengths": 'sizes are a mapping: fdm.split({"train": 0.8, "val": None})',
            "fractions": 'sizes are a mapping: fdm.split({"train": 0.8, "val": None})',
            "stratify_by_column": "that is stratify: stratify=column",
            "group": "that is groups: groups=column",
        },
        "fold": {
            "n_splits": "folds are counted by k: fdm.fold(5, 0) is fold 0 of 5",
            "n_folds": "folds are counted by k: fdm.fold(5, 0) is fold 0 of 5",
            "shuffle": "folds are of a permutation; seed=1 takes another one",
            "fold": "its number is index: fdm.fold(5, 0) is fold 0 of 5",
        },
        "shuffle": {
            "buffer_size": "a permutation of all costs no memory: fdm.shuffle(); blocks are for data that is read in blocks: "
            "fdm.shuffle(block=256, window=1024)",
            "split": 'splits are named by .on: fdm.shuffle().on("train")',
            "reshuffle_each_iteration": "each epoch has its own permutation; fixed is what stands in the pipeline without a "
            "shuffle",
        },
        "sample": {
            "replacement": 'it draws with replacement: fdm.sample("weight"); without, write fdm.shuffle(), and fdm.take(n)',
            "num_samples": "that is size: fdm.sample(weights, size=1000)",
            "n": "that is size, of draws with replacement; the first n of the order are fdm.take(n)",
            "frac": "the first part of the order is fdm.take(0.1)",
        },
        "take": {"n": "it comes first: fdm.take(100)", "fraction": "it comes first, a float: fdm.take(0.1)"},
        "transfer": {
            "non_blocking": "copies are made ahead as the device allows; leave it out (skip names entries that stay)",
        },
        "pipeline": {
            "stages": "stages stand one after the other: fdm.pipeline(stage, stage), of a list fdm.pipeline(*stages)",
        },
        "open": {
            "num_workers": "that is workers: fdm.open(p, workers=4)",
            "num_threads": "that is threads: fdm.open(p, threads=4)",
            "prefetch_factor": "that is prefetch: fdm.open(p, workers=4, prefetch=2)",
            "multiprocessing_context": 'that is start_method: fdm.open(p, workers=4, start_method="spawn")',
            "cache_dir": "that is store: fdm.open(p, store=folder)",
            "data_dir": "what is kept is in store: fdm.open(p, store=folder)",
            "root": "what is kept is in store: fdm.open(p, store=folder)",
            "seed": "what changes batches is the pipeline's: fdm.open(fdm.replace(p, seed=7))",
            "split": 'all splits are opened: fdm.open(p).loader("train")',
            "epoch": "an epoch is a loader's: data.loader(split, epoch=3)",
            "rank": "ranks are found, or given: fdm.open(p, context=fdm.RankContext(rank=0, world_size=2))",
            "world_size": "ranks are found, or given: fdm.open(p, context=fdm.RankContext(rank=0, world_size=2))",
        },
        "data.loader": {
            "steps": "a part of an epoch is a slice: data.loader(split)[:100]",
            "limit": "a part of an epoch is a slice: data.loader(split)[:100]",
            "max_steps": "a part of an epoch is a slice: data.loader(split)[:100]",
            "num_batches": "a part of an epoch is a slice: data.loader(split)[:100]",
            "seed": "each epoch has its own order: data.loader(split, epoch=1); the seed is the pipeline's: "
            "fdm.replace(p, seed=7)",
            "snapshot": "that is start: data.loader(split, start=snapshot)",
            "resume": "that is start: data.loader(split, start=snapshot)",
            "rank": "ranks are found when data is opened: fdm.open(p, context=fdm.RankContext(rank=0, world_size=2))",
        },
        "data.epochs": {
            "epochs": "the epoch to end before is stop: data.epochs(split, stop=3)",
            "n": "the epoch to end before is stop: data.epochs(split, stop=3)",
            "max_epochs": "the epoch to end before is stop: data.epochs(split, stop=3)",
            "num_epochs": "the epoch to end before is stop: data.epochs(split, stop=3)",
            "snapshot": "that is start: data.epochs(split, 10, start=snapshot)",
        },
    }
)
"""What to write in place of parameters that others have, by the function at which they are written."""

EXAMPLES: Mapping[str, str] = MappingProxyType(
    {
        **{kind: f"fdm.{kind}(fn, name=value)" for kind in ("clean", "load", "transform", "augment", "fetch")},
        "measure": 'fdm.measure(fn).on("train")',
        "batch": "fdm.batch(32), or fdm.batch(32, drop_last=True)",
        "split": 'fdm.split({"train": 0.9, "val": None})',
        "fold": "fdm.fold(5, 0), which is fold 0 of 5",
        "alias": 'fdm.alias(predict="test")',
        "shuffle": 'fdm.shuffle().on("train"), which is a permutation of all in each epoch',
        "sample": 'fdm.sample("weight"), a column or a function of the source',
        "take": "fdm.take(100), or fdm.take(0.1)",
        "pack": 'fdm.pack(4096, "tokens")',
        "mix": 'fdm.mix({"web": 0.7, "code": 0.3}, into="train")',
        "transfer": "fdm.transfer(), to the device that the executor has: "
        'fdm.open(p, context=fdm.RankContext(device="cuda"))',
        "open": "fdm.open(p), or fdm.open(p, workers=4)",
        "Executor": "fdm.Executor(workers=4).open(p)",
        "data.loader": 'data.loader("train"), or data.loader("train", epoch=3)',
        "data.epochs": 'data.epochs("train", 3)',
        "data.dataset": 'data.dataset("train")',
        "loader.snapshot": "loader.snapshot(step), where step counts the steps of this loader that are done",
        "Table": 'fdm.Table({"image": images, "label": labels})',
        "Ragged": "fdm.Ragged.of(rows), of a list of tensors, bytes or strings",
    }
)
"""A right call of each function."""
