"""Attributes that others have, who come from torch, Lightning, Hugging Face or pandas, and what to write here."""

from collections.abc import Mapping
from types import MappingProxyType


_OF_DATA = "the data of a split comes by"
_INSERT = "a pipeline is a value, which functions edit: q ="

NAMES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "Split": {"on": 'it cuts a source, or a split that is there: fdm.split(sizes, of="train")'},
        "Fold": {"on": 'it cuts a source, or a split that is there: fdm.fold(5, 0, of="train")'},
        "Alias": {"on": 'it names splits: fdm.alias(predict="test")'},
        "Mix": {"on": 'it names its parts, and the split that is made: fdm.mix(shares, into="train")'},
        "Fetch": {"on": "it runs once, for all splits; return what a split needs from fdm.clean or fdm.load by name"},
        "Clean": {
            "on": 'it makes the sources that splits are made of: return {"train": table, "val": table}, or limit what comes '
            'later: fdm.transform(fn).on("train")'
        },
        "Load": {
            "on": 'it opens the sources that splits are made of: return {"train": source, "val": source}, or limit what '
            'comes later: fdm.transform(fn).on("train")'
        },
        "Pipeline": {
            "replace": f"{_INSERT} fdm.replace(p, fdm.batch(256)), or fdm.replace(p, seed=7)",
            "with_seed": f"{_INSERT} fdm.replace(p, seed=7)",
            "with_*": f"{_INSERT} fdm.replace(p, fdm.batch(256)), or fdm.insert(p, stage)",
            "without": f'{_INSERT} fdm.without(p, "shuffle")',
            "remove": f'{_INSERT} fdm.without(p, "shuffle")',
            **dict.fromkeys(("insert", "append", "add", "extend"), f"{_INSERT} fdm.insert(p, stage)"),
            **dict.fromkeys(
                ("map", "with_transform", "set_transform", "apply"), f"{_INSERT} fdm.insert(p, fdm.transform(fn))"
            ),
            "filter": "what is left out is decided by a split: fdm.split(fn), or a clean function",
            "shuffle": f"{_INSERT} fdm.insert(p, fdm.shuffle())",
            "batch": f"{_INSERT} fdm.insert(p, fdm.batch(32)), or fdm.replace(p, fdm.batch(32)) where there is one",
            "take": f"{_INSERT} fdm.insert(p, fdm.take(100))",
            "describe": "that is a function: fdm.describe(p)",
            "fingerprint": "that is a function: fdm.fingerprint(p)",
            "draw": "that is a function: fdm.draw(p)",
            "prepare": "that is an executor's: fdm.Executor().prepare(p)",
            **dict.fromkeys(
                ("open", "loader", "epochs", "dataset", "splits", "facts", "setup", "train_dataloader", "run"),
                'a pipeline is a value until it is opened: data = fdm.open(p), then data.loader("train")',
            ),
        },
        "Data": {
            **{
                f"{split}_dataloader": f'{_OF_DATA} data.loader("{split}"), the batches of one epoch'
                for split in ("train", "val", "test", "predict")
            },
            **{
                split: f'{_OF_DATA} data.loader("{split}") in batches, and by data.dataset("{split}") example by example'
                for split in ("train", "val", "test", "predict")
            },
            "setup": "fdm.open(p) has done it: all splits are there",
            "teardown": "it is closed by data.close(), or at the end of with fdm.open(p) as data",
            "prepare_data": "fdm.open(p) has done it; alone it is fdm.Executor().prepare(p)",
            "batch_size": 'it is that of a split: data.loader("train").plan()["batch_size"]',
            "dataloader": f'{_OF_DATA} data.loader("train")',
            "map": "what is done for examples and batches is a stage of the pipeline: fdm.transform(fn)",
            "with_transform": "what is done for examples and batches is a stage of the pipeline: fdm.transform(fn)",
            "set_transform": "what is done for examples and batches is a stage of the pipeline: fdm.transform(fn)",
            "filter": "what is left out is decided by a stage of the pipeline: fdm.split(fn), or a clean function",
            "shuffle": "the order is a stage of the pipeline: fdm.shuffle()",
            "batch": "batches are a stage of the pipeline: fdm.batch(32)",
            "take": "the first examples are a stage of the pipeline: fdm.take(100)",
            "select": "the first examples are a stage of the pipeline: fdm.take(100)",
            "train_test_split": 'splits are a stage of the pipeline: fdm.split({"train": None, "test": 0.2})',
            "keys": "the splits are in data.splits",
            "set_epoch": "an epoch is a loader's: data.loader(split, epoch=3)",
        },
        "Loader": {
            "dataset": 'a loader has batches; the examples of a split are data.dataset("train"), their ids '
            "loader.indices(step); loops of others that look for a dataset are given data.stream(split)",
            "batch_size": 'it is in the plan: loader.plan()["batch_size"]',
            "drop_last": 'what is left out is in the plan: loader.plan()["dropped"]',
            "sampler": "the epoch is chosen where a loader is made: data.loader(split, epoch=3); ranks have their shares by "
            "themselves; loops of others that look for a sampler are given data.stream(split)",
            "batch_sampler": "the ids of a batch are loader.indices(step)",
            "set_epoch": "the epoch is chosen where a loader is made: data.loader(split, epoch=3), or data.epochs(split, 10); "
            "loops of others that set it are given data.stream(split)",
            "collate_fn": "it is a stage's: fdm.batch(32, collate=fn)",
            "num_workers": "speed is the executor's: fdm.open(p, workers=4)",
            "pin_memory": "speed is the executor's: fdm.open(p, pin_memory=True)",
            "next": "batches come by a loop, or by next(iter(loader)); loader[i] is that of a step",
            "state_dict": "a place is loader.snapshot(step).to_dict(); loops of others that keep it are given data.stream(split)",
            "load_state_dict": "a place is where a loader starts: data.loader(split, start=fdm.Snapshot.from_dict(place)); "
            "loops of others are given data.stream(split, start=place)",
        },
        "Table": {
            "from_*": "make it of columns, fdm.Table({name: tensor}), or of rows or a frame, fdm.Table.of(rows)",
            "columns": "they are a mapping: table.keys(), table[name]",
            "column_names": "they are a mapping: table.keys(), table[name]",
            "features": "they are a mapping: table.keys(), table[name]",
            "dtypes": "they are the columns': table[name].dtype; print(table) shows all",
            "shape": "rows are counted by len(table), columns are table.keys()",
            "num_rows": "rows are counted by len(table)",
            "iloc": "rows are table[3], or table[[3, 4]]",
            "loc": "rows are table[3], or table[[3, 4]]; a column is table[name]",
            "head": "the first rows are table[:5]",
            "select": "rows are table[[3, 4]], as a batch; in a pipeline it is fdm.split or fdm.take that choose",
            "map": "a new table is made of columns: fdm.Table({**table, name: tensor}); in a pipeline it is fdm.transform(fn)",
            "filter": "a new table is made of rows: fdm.Table(table[rows])",
            "to_*": "its columns are tensors: dict(table.items())",
            "numpy": "a column is a tensor: table[name].numpy()",
            "append": "a table is immutable; a new one is made of columns: fdm.Table({**table, name: tensor})",
            "assign": "a table is immutable; a new one is made of columns: fdm.Table({**table, name: tensor})",
        },
        "Ragged": {
            "from_*": "it is made of rows: fdm.Ragged.of(rows)",
            "to_padded_tensor": "that is ragged.padded(0)",
            "to_padded": "that is ragged.padded(0)",
            "to_tensor": "that is ragged.padded(0)",
            "shape": "rows are counted by len(ragged)",
        },
    }
)
"""What to write in place of attributes that others have, by class; `with_*` stands for all that begin so."""
