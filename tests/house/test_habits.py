"""What people write out of habit, who come from torch, Lightning, Hugging Face or pandas: the error says what to write here."""

import copy
import inspect
import pickle

import attrs
import pytest
import torch

import fdm


class Dataset(torch.utils.data.Dataset):
    """A map-style dataset, whose text fills several lines, as torchvision's does."""

    def __init__(self, n=8):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        if not 0 <= index < self.n:
            raise IndexError(index)
        return {"x": torch.full((3,), float(index)), "label": index % 2}

    def __repr__(self):
        return "Dataset MNIST\n    Number of datapoints: 60000\n    Root location: data\n    Split: Train\n" + "x" * 200


class Compose:
    """As a transform of torchvision: a plain class that can change."""

    def __init__(self, transforms):
        self.transforms = transforms

    def __call__(self, item):
        return item


class Picture:
    """As an image of PIL is to torch."""


def numbers(n=8):
    return Dataset(n)


def pictures():
    return [{"image": Picture()} for _ in range(4)]


def lengths():
    return [{"text": torch.zeros(n + 1)} for n in range(4)]


def pairs():
    return [[1, 2], [3], [4, 5]]


def scaled(item, *, by=1):
    return {**item, "x": item["x"] * by}


def cropped(item):
    return {**item, "x": item["x"].reshape(3)}


def tally(source):
    return {"n": len(source)}


def halves(source):
    return {"train": range(4), "val": range(4, 8)}


SPLIT = fdm.split({"train": 0.5, "val": None})
P = fdm.pipeline(fdm.load(numbers), SPLIT, fdm.shuffle().on("train"), fdm.batch(2), fdm.transfer())


@pytest.fixture(scope="module")
def data():
    with fdm.open(P) as opened:
        yield opened


def first(*stages):
    with fdm.open(fdm.pipeline(*stages)) as opened:
        return opened.loader("all")[0]


def steps_of(data):
    for _ in data:
        pass


def assigned(table):
    table.column = torch.zeros(3)


TABLE = fdm.Table({"x": torch.arange(3)})

# The line, what it raises besides FdmError, and words that its message has.
MISTAKES = [
    # sizes, orders and splits
    ("fdm.batch(batch_size=32)", TypeError, "fdm.batch(32)"),
    ("fdm.batch()", TypeError, "fdm.batch(32)"),
    ("fdm.batch(32, shuffle=True)", TypeError, 'fdm.shuffle().on("train")'),
    ("fdm.batch(32, sampler=None)", TypeError, "fdm.sample"),
    ("fdm.batch(32, batch_sampler=None)", TypeError, "alike="),
    ("fdm.batch(32, num_workers=4)", TypeError, "fdm.open(p, workers=4)"),
    ("fdm.batch(32, pin_memory=True)", TypeError, "fdm.open(p, pin_memory=True)"),
    ("fdm.batch(32, collate_fn=len)", TypeError, "collate=fn"),
    ("fdm.batch(32, drop_remainder=True)", TypeError, "drop_last=True"),
    ("fdm.batch(32, droplast=True)", TypeError, "did you mean 'drop_last'?"),
    ("fdm.batch(32, True)", TypeError, "drop_last=True"),
    ('fdm.batch("32")', ValueError, "an integer"),
    ("fdm.split(train=0.8, val=0.2)", TypeError, 'fdm.split({"train": 0.8, "val": 0.2})'),
    ("fdm.split(test_size=0.2)", TypeError, 'fdm.split({"train": None, "test": 0.2})'),
    ("fdm.split([0.8, 0.2])", ValueError, '{"train": 0.9, "val": None}'),
    ("fdm.split(0.8, 0.2)", TypeError, '{"train": 0.9, "val": None}'),
    ('fdm.split({"train": 0.8, "val": None}, random_state=0)', TypeError, "seed=0"),
    ('fdm.split({"train": 0.8, "val": None}, stratfy="label")', TypeError, "did you mean 'stratify'?"),
    ('fdm.split({"train": 0.8, "val": None}, train=1)', TypeError, "a function"),
    ("fdm.shuffle(True)", TypeError, 'fdm.shuffle().on("train")'),
    ('fdm.shuffle("train")', TypeError, 'fdm.shuffle().on("train")'),
    ("fdm.shuffle(1000)", TypeError, 'fdm.shuffle().on("train")'),
    ("fdm.shuffle(buffer_size=1000)", TypeError, "fdm.shuffle()"),
    ('fdm.take("10")', ValueError, "a count (int)"),
    ("fdm.take()", TypeError, "fdm.take(100)"),
    ("fdm.sample(replacement=True)", TypeError, 'fdm.sample("weight")'),
    ('fdm.sample("w", num_samples=3)', TypeError, "size="),
    ("fdm.fold(k=5)", TypeError, "fdm.fold(5, 0)"),
    ("fdm.fold(n_splits=5)", TypeError, "fdm.fold(5, 0)"),
    ('SPLIT.on("train")', AttributeError, "of="),
    ('fdm.load(numbers).on("train")', AttributeError, 'fdm.transform(fn).on("train")'),
    ('fdm.fold(5, 0).on("train")', AttributeError, "of="),
    ('fdm.shuffle().on(["train", "val"])', ValueError, '.on("train", "val")'),
    ('fdm.transfer("cuda")', TypeError, 'fdm.RankContext(device="cuda")'),
    ('fdm.transfer(device="cuda")', TypeError, 'fdm.RankContext(device="cuda")'),
    ("fdm.transfer(non_blocking=True)", TypeError, "skip"),
    ("fdm.alias()", ValueError, 'alias(predict="test")'),
    # functions
    ("fdm.load(Dataset())", ValueError, "fdm.load(Dataset, name=value)"),
    ("fdm.load([1, 2, 3])", ValueError, "def"),
    ("fdm.clean(TABLE)", ValueError, "a function that returns it"),
    ("fdm.transform(lambda item: item)", ValueError, "define it with def at the top of a module"),
    ("fdm.transform(scaled, 3)", ValueError, "fdm.transform(scaled, by=3)"),
    ('fdm.transform(scaled({"x": 1}))', ValueError, "without calling it"),
    ("fdm.transform(Compose([1]))", ValueError, "frozen attrs class or dataclass"),
    ("fdm.transform(Compose([1]))", ValueError, "at the top of a module"),
    ("fdm.pipeline(fdm.load(numbers), fdm.measure(tally))", ValueError, '.on("train")'),
    ('fdm.fetch("https://example.org/x.zip")', ValueError, "fdm.fetch(fdm.download, files=[fdm.File("),
    ("fdm.transform()", TypeError, "fdm.transform(fn, name=value)"),
    ("fdm.load(numbers, num_workers=4)", TypeError, "no parameter 'num_workers'"),
    # pipelines
    ("fdm.pipeline([fdm.batch(2)])", ValueError, "leave out the brackets"),
    ("fdm.pipeline(*[fdm.load(numbers)], shuffle=True)", TypeError, "fdm.shuffle()"),
    ("P.replace(fdm.batch(4))", AttributeError, "fdm.replace(p, fdm.batch(256))"),
    ("P.without('shuffle')", AttributeError, "fdm.without(p, "),
    ("P.insert(0, fdm.take(3))", AttributeError, "fdm.insert(p, "),
    ("P.append(fdm.take(3))", AttributeError, "fdm.insert(p, "),
    ("P.with_batch(3)", AttributeError, "fdm.replace(p, "),
    ("P.with_seed(3)", AttributeError, "fdm.replace(p, seed=7)"),
    ("P.open()", AttributeError, "fdm.open(p)"),
    ("P.loader('train')", AttributeError, "fdm.open(p)"),
    ("P.shuffle()", AttributeError, "fdm.insert(p, fdm.shuffle())"),
    ("P.batch(32)", AttributeError, "fdm.batch(32)"),
    ("P.map(scaled)", AttributeError, "fdm.transform(fn)"),
    ("P + fdm.take(3)", TypeError, "fdm.insert(p, "),
    ("P + P", TypeError, "fdm.pipeline("),
    ("P | fdm.take(3)", TypeError, "fdm.pipeline("),
    ("P >> fdm.take(3)", TypeError, "fdm.pipeline("),
    ("fdm.load(numbers) | fdm.batch(3)", TypeError, "fdm.pipeline("),
    ("fdm.load(numbers) + fdm.batch(3)", TypeError, "fdm.pipeline("),
    ("fdm.load(numbers) >> fdm.batch(3)", TypeError, "fdm.pipeline("),
    ("P[0]", TypeError, "p.stages[0]"),
    ("P['batch']", TypeError, "p.stages[0]"),
    # opening
    ("fdm.open(P, num_workers=4)", TypeError, "workers=4"),
    ("fdm.open(P, batch_size=32)", TypeError, "fdm.replace(p, fdm.batch(32))"),
    ("fdm.open(P, shuffle=True)", TypeError, 'fdm.shuffle().on("train")'),
    ("fdm.open(P, device='cuda')", TypeError, "context=fdm.RankContext(device="),
    ("fdm.open(P, prefetch_factor=2)", TypeError, "prefetch=2"),
    ("fdm.open(P, persistent_workers=True)", TypeError, "workers stay"),
    ("fdm.open(P, cache_dir='x')", TypeError, "store="),
    ("fdm.open(P, seed=3)", TypeError, "fdm.replace(p, seed=7)"),
    ("fdm.Executor(num_workers=4)", TypeError, "workers=4"),
    ("fdm.open([fdm.load(numbers), fdm.batch(2)])", ValueError, "fdm.pipeline("),
    ("fdm.open(fdm.load(numbers))", ValueError, "fdm.pipeline("),
    ("fdm.open(Dataset())", ValueError, "fdm.load"),
    ("fdm.open()", TypeError, "fdm.open(p)"),
    ("fdm.RankContext(device='gpu')", ValueError, "cuda"),
    ("fdm.RankContext(device='cuda:x')", ValueError, "cuda:0"),
    ("fdm.RankContext(device=0)", ValueError, "cuda:0"),
    # opened data
    ("data['train']", TypeError, 'data.loader("train")'),
    ("steps_of(data)", TypeError, 'data.loader("train")'),
    ("next(iter(data))", TypeError, 'data.loader("train")'),
    ("data.train_dataloader()", AttributeError, 'data.loader("train")'),
    ("data.val_dataloader()", AttributeError, 'data.loader("val")'),
    ("data.test_dataloader()", AttributeError, 'data.loader("test")'),
    ("data.predict_dataloader()", AttributeError, 'data.loader("predict")'),
    ("data.setup('fit')", AttributeError, "fdm.open"),
    ("data.prepare_data()", AttributeError, "fdm.Executor().prepare(p)"),
    ("data.train", AttributeError, 'data.loader("train")'),
    ("data.map(scaled)", AttributeError, "fdm.transform(fn)"),
    ("data.shuffle()", AttributeError, "fdm.shuffle()"),
    ("data.train_test_split(0.2)", AttributeError, "fdm.split({"),
    ("data.loader('train', shuffle=True)", TypeError, 'fdm.shuffle().on("train")'),
    ("data.loader('train', batch_size=4)", TypeError, "fdm.batch(32)"),
    ("data.loader('train', num_workers=4)", TypeError, "fdm.open(p, workers=4)"),
    ("data.loader('train', steps=3)", TypeError, "[:100]"),
    ("data.loader('train', seed=3)", TypeError, "epoch="),
    ("data.loader()", TypeError, 'data.loader("train")'),
    ("data.loader('trian')", KeyError, "did you mean 'train'?"),
    ("data.loader(0)", KeyError, 'data.loader("train")'),
    ("data.loader('train', {'epoch': 1})", ValueError, "start="),
    ("data.loader('train', data.loader('train').snapshot(1))", ValueError, "start="),
    ("data.loader('train', start=data.loader('train').snapshot(1).to_dict())", ValueError, "Snapshot.from_dict("),
    ("data.loader('train', start=3)", ValueError, "snapshot("),
    ("data.loader('train').snapshot()", TypeError, "snapshot(step)"),
    ("list(data.epochs(3))", KeyError, 'data.epochs("train", 3)'),
    ("data.epochs()", TypeError, 'data.epochs("train", 3)'),
    ("data.epochs('train', epochs=3)", TypeError, "stop="),
    ("data.dataset('train', shuffle=True)", TypeError, "fdm.shuffle()"),
    ("data.loader('train').dataset", AttributeError, 'data.dataset("train")'),
    ("data.loader('train').batch_size", AttributeError, 'plan()["batch_size"]'),
    ("data.loader('train').sampler.set_epoch(1)", AttributeError, "epoch="),
    ("data.loader('train').set_epoch(1)", AttributeError, "epoch="),
    ("data.loader('train').num_workers", AttributeError, "fdm.open(p, workers=4)"),
    ("data.loader('train').next()", AttributeError, "next(iter(loader))"),
    ("data.loader('train').state_dict()", AttributeError, "snapshot("),
    # tables
    ("fdm.Table([{'x': 1}])", ValueError, "fdm.Table"),
    ("fdm.Table()", TypeError, "fdm.Table({"),
    ("fdm.Table(x=torch.arange(3))", TypeError, "fdm.Table({"),
    ("fdm.Table.from_dict({'x': [1]})", AttributeError, "fdm.Table({"),
    ("fdm.Table.from_pandas(None)", AttributeError, "fdm.Table({"),
    ("fdm.Ragged([torch.zeros(2), torch.zeros(3)])", TypeError, "fdm.Ragged.of(rows)"),
    ("fdm.Ragged.from_list([torch.zeros(2)])", AttributeError, "fdm.Ragged.of(rows)"),
    ("assigned(TABLE)", AttributeError, "Table({**"),
    ("TABLE.columns", AttributeError, "table.keys()"),
    ("TABLE.shape", AttributeError, "len(table)"),
    ("TABLE.iloc[0]", AttributeError, "table[3]"),
    ("TABLE.head()", AttributeError, "table[:5]"),
    ("TABLE.x", AttributeError, "table['x']"),
    ("TABLE['y']", KeyError, "the table has 'x'"),
    # batches
    ("first(fdm.load(pictures), fdm.batch(2))", ValueError, "torch.from_numpy(numpy.array(image))"),
    ("first(fdm.load(lengths), fdm.batch(2))", ValueError, "collate=fn"),
    ("first(fdm.load(pairs), fdm.batch(2))", ValueError, "collate=fn"),
]  # fmt: skip


@pytest.mark.parametrize(
    "line, kind, words", MISTAKES, ids=[f"{number} {line}" for number, (line, _, _) in enumerate(MISTAKES)]
)
def test_the_error_says_what_to_write(line, kind, words, data):
    with pytest.raises(fdm.FdmError) as caught:
        eval(line, {**globals(), "data": data})
    assert words in str(caught.value)
    assert isinstance(caught.value, kind)


def test_a_name_that_is_not_there_stays_one_that_is_not_there(data):
    loader = data.loader("train")
    things = [P, SPLIT, fdm.load(numbers), data, loader, TABLE, fdm.Ragged.of(["a"])]
    names = [
        "replace",
        "on",
        "train",
        "train_dataloader",
        "dataset",
        "set_epoch",
        "columns",
        "shape",
        "__array__",
        "_x",
    ]
    for thing in things:
        assert [] == [name for name in names if hasattr(thing, name) and name not in dir(thing)]
        assert "nothing" == getattr(thing, "odd", "nothing")
        assert not set(dir(thing)) & {"with_seed", "train_dataloader", "sampler", "iloc"}
    assert not hasattr(fdm.Table, "from_pandas")
    assert not hasattr(fdm.Ragged, "from_list")


def test_what_nobody_has_gets_the_error_of_python(data):
    for thing in (P, SPLIT, data, data.loader("train"), TABLE, fdm.Table):
        with pytest.raises(AttributeError, match="has no attribute 'lodaer'") as caught:
            thing.lodaer  # noqa: B018 - the access is what is tested
        assert type(caught.value) is AttributeError
        assert (caught.value.name, caught.value.obj) == ("lodaer", thing)


def test_values_travel_and_are_true_as_before():
    for value in (P, SPLIT, fdm.Ragged.of(["a", "bc"]), TABLE):
        for again in (copy.copy(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value))):
            assert type(again) is type(value)
            assert bool(again)
    assert copy.deepcopy(P) == P == pickle.loads(pickle.dumps(P))
    assert attrs.evolve(P, seed=3) != P
    assert pickle.loads(pickle.dumps(fdm.batch)) is fdm.batch


def test_signatures_and_help_are_those_of_the_functions():
    assert ["size", "drop_last", "collate", "ids", "origin", "across", "alike", "of", "buckets", "edges"] == list(
        inspect.signature(fdm.batch).parameters
    )
    assert ["self", "split", "epoch", "start"] == list(inspect.signature(fdm.Data.loader).parameters)
    assert ["columns"] == list(inspect.signature(fdm.Table).parameters)
    assert ("fdm", "batch", "batch") == (fdm.batch.__module__, fdm.batch.__name__, fdm.batch.__qualname__)
    assert fdm.batch.__doc__.startswith("Put `size` examples")


def odd(item):
    return item + None


def test_a_type_error_of_the_users_own_code_passes():
    with pytest.raises(TypeError, match="unsupported operand") as caught:
        first(fdm.load(numbers), fdm.transform(odd), fdm.batch(2))
    assert not isinstance(caught.value, fdm.FdmError)
