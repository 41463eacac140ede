"""Batches under Lightning: each is finished with its own stages and keys, whatever comes through the hooks beside it."""

from collections import Counter

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import CombinedLoader
from lit import Notes, epochs, noisy, quiet, table, trainer
from torch.utils.data import DataLoader, TensorDataset

import fdm
from fdm.lightning import datamodule, datamodule_class


pytestmark = [
    *quiet,
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*dataloader is not resumable"),
    pytest.mark.filterwarnings("ignore:.*`dataloader_iter`", "ignore:You have overridden"),
    pytest.mark.filterwarnings("ignore:.*to_torchscript", "ignore:.*torch.jit"),
    pytest.mark.filterwarnings("ignore:.*number of training batches"),
]


def noisy_train() -> fdm.Pipeline:
    return fdm.pipeline(SPLIT, fdm.shuffle().on("train"), fdm.batch(4), fdm.transfer(), NOISE, seed=3)


def marked(batch):
    return {**batch, "marked": batch["x"] + 1}


def all_marked() -> fdm.Pipeline:
    return fdm.pipeline(SPLIT, fdm.shuffle().on("train"), fdm.batch(4), fdm.transfer(), fdm.transform(marked), seed=3)


def skipping() -> fdm.Pipeline:
    return fdm.pipeline(SPLIT, fdm.shuffle().on("train"), fdm.batch(4), fdm.transfer(skip=("id",)), seed=3)


def only_floats() -> fdm.Pipeline:
    return fdm.pipeline(fdm.load(floats), fdm.batch(4), fdm.transfer(), fdm.transform(marked))


def floats():
    return {"train": fdm.Table({"x": torch.arange(12).float()}), "val": fdm.Table({"x": torch.arange(8).float()})}


def parts(n):
    return {"a": table(n), "b": table(n // 2), "val": table(8)}


def side_by_side() -> fdm.Pipeline:
    return fdm.pipeline(fdm.load(parts, n=24), fdm.shuffle().on("a"), fdm.batch(4), fdm.transfer(skip=("id",)), seed=3)


def side_by_side_noisy() -> fdm.Pipeline:
    return fdm.pipeline(fdm.without(side_by_side(), "transfer"), fdm.transfer(), fdm.augment(noisy))


SPLIT = fdm.pipeline(fdm.load(table, n=40), fdm.split({"train": 24, "val": 8, "test": None}))
NOISE = fdm.augment(noisy).on("train")


class Unsized:
    """Iterates over a loader, and has no length, so that Lightning is one batch ahead."""

    def __init__(self, loader, change=lambda batch: batch):
        self.loader, self.change = loader, change

    def __iter__(self):
        return map(self.change, self.loader)


class Sized(Unsized):
    def __len__(self):
        return len(self.loader)


def others(size=4, n=20):
    """Batches that are none of a datamodule's, and look like its own."""
    examples = [{"x": torch.tensor(float(number)), "id": number} for number in range(n)]
    return DataLoader(examples, batch_size=size)


def cloned(batch, *_):
    return {name: cloned(each) if isinstance(each, dict) else each.clone() for name, each in batch.items()}


class Sees(Notes):
    """Notes the entries of its val batches."""

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        self.evaluated.append(sorted(batch) if isinstance(batch, dict) else type(batch).__name__)


class Iterates(Sees):
    """Asks for its batches itself."""

    def training_step(self, dataloader_iter):
        batch, _, _ = next(dataloader_iter)
        self.seen.append(batch["id"].tolist())
        return self.layer(batch["x"][:, None]).mean()


class Clones(Sees):
    def on_before_batch_transfer(self, batch, _):
        return cloned(batch)


def of(factory, **methods):
    """A datamodule whose class has these methods besides; a loader is changed by the function under its name."""

    def loader(name, change):
        return lambda self: change(getattr(super(made, self), name)())

    own = {name: loader(name, each) if name.endswith("loader") else each for name, each in methods.items()}
    made = type("Own", (datamodule_class(factory),), own)
    return made()


def plain(_):
    return others()


@pytest.mark.parametrize(
    "hooks",
    [
        {},
        {"on_before_batch_transfer": lambda self, batch, _: cloned(batch)},
        {"transfer_batch_to_device": lambda self, batch, *_: cloned(batch)},
        {"on_before_batch_transfer": lambda self, batch, _: {**cloned(batch), "more": torch.ones(1)}},
        {
            "on_before_batch_transfer": lambda self, batch, _: cloned(batch),
            "on_after_batch_transfer": lambda self, batch, at: cloned(
                pl.LightningDataModule.on_after_batch_transfer(self, batch, at)
                if self.trainer.validating
                else type(self).__mro__[1].on_after_batch_transfer(self, cloned(batch), at)
            ),
        },
    ],
    ids=["none", "before", "transfer", "more", "all"],
)
@pytest.mark.parametrize("wrapper", [lambda loader: loader, Sized, Unsized], ids=["bare", "sized", "unsized"])
@pytest.mark.parametrize("module", [Sees, Clones])
def test_each_batch_gets_its_own_keys_however_far_ahead_lightning_is(hooks, wrapper, module):
    for val in (plain, lambda own: own):
        data = of(noisy_train, train_dataloader=wrapper, val_dataloader=val, **hooks)
        trainer(max_epochs=2, val_check_interval=2, num_sanity_val_steps=1).fit(found := module(), datamodule=data)
        assert epochs(noisy_train(), count=2) == found.seen
        assert {"more"} | {"id", "x"} >= set().union(*found.evaluated)


@pytest.mark.parametrize("wrapper", [lambda loader: loader, Unsized], ids=["bare", "unsized"])
@pytest.mark.parametrize("hooks", [{}, {"on_before_batch_transfer": lambda self, batch, _: cloned(batch)}])
def test_a_resumed_fit_knows_its_first_batch(wrapper, hooks, tmp_path):
    class Stops(Callback):
        def on_train_batch_end(self, trainer, module, *_):
            if 4 == len(module.seen):
                trainer.save_checkpoint(tmp_path / "at.ckpt")

    whole = Notes()
    trainer(max_epochs=2, callbacks=[Stops()]).fit(whole, datamodule=of(noisy_train, train_dataloader=wrapper, **hooks))
    rest = Notes()
    again = of(noisy_train, train_dataloader=wrapper, **hooks)
    trainer(max_epochs=2).fit(rest, datamodule=again, ckpt_path=tmp_path / "at.ckpt")
    assert epochs(noisy_train(), count=2) == whole.seen
    assert whole.seen[4:] == rest.seen


@pytest.mark.parametrize("wrapper", [Sized, Unsized])
def test_what_a_wrapper_of_a_loader_makes_anew_is_known_by_when_it_was_asked_for(wrapper):
    data = of(noisy_train, train_dataloader=lambda loader: wrapper(loader, cloned))
    trainer(max_epochs=2).fit(found := Sees(), datamodule=data)
    assert epochs(noisy_train(), count=2) == found.seen


class Mixed(Sized):
    """Others among those of a loader, in turn."""

    def __len__(self):
        return 2 * len(self.loader)

    def __iter__(self):
        for one, other in zip(self.loader, others(n=24), strict=True):
            yield one
            yield other


@pytest.mark.parametrize("hooks", [{}, {"on_before_batch_transfer": lambda self, batch, _: cloned(batch)}])
@pytest.mark.parametrize("wrapper", [Mixed, lambda loader: Unsized(Mixed(loader))], ids=["sized", "unsized"])
def test_batches_of_elsewhere_among_those_of_a_loader_are_left_alone(wrapper, hooks):
    data = of(noisy_train, train_dataloader=wrapper, **hooks)
    trainer(max_epochs=2).fit(found := Sees(), datamodule=data)
    assert epochs(noisy_train(), count=2) == found.seen[::2]
    assert all([] == noise for ((_, noise),) in found.seen[1::2])


def test_a_batch_of_elsewhere_that_was_taken_for_one_of_a_loader_is_an_error():
    class OthersFirst(Mixed):
        def __iter__(self):
            for one, other in zip(self.loader, others(n=24), strict=True):
                yield other
                yield one

    for wrapper in (OthersFirst, lambda loader: Unsized(OthersFirst(loader))):
        with pytest.raises(fdm.DataError, match="cannot be told"):
            trainer(max_epochs=1).fit(Sees(), datamodule=of(noisy_train, train_dataloader=wrapper))


def test_where_it_cannot_be_told_which_batch_it_is_that_is_an_error():
    class Pairs(Sized):
        """Reads ahead, and makes everything anew."""

        def __len__(self):
            return len(self.loader) - 1

        def __iter__(self):
            batches = map(cloned, self.loader)
            kept = next(batches)
            for batch in batches:
                yield kept
                kept = batch

    data = of(noisy_train, train_dataloader=Pairs)
    with pytest.raises(fdm.DataError, match="cannot be told"):
        trainer(max_epochs=1).fit(Sees(), datamodule=data)
    byhand = datamodule_class(noisy_train)()
    kept = list(byhand.train_dataloader())
    with pytest.raises(fdm.DataError, match="cannot be told"):
        byhand.transfer_batch_to_device(cloned(kept[0]), torch.device("cpu"), 0)


def test_where_steps_ask_for_batches_themselves_those_of_elsewhere_are_left_alone():
    for size in (3, 4):
        data = of(all_marked, val_dataloader=lambda _, size=size: others(size))
        options = {"val_check_interval": 0.5, "num_sanity_val_steps": 0, "max_epochs": 2}
        trainer(**options).fit(module := Iterates(), datamodule=data)
        assert {("id", "x")} == set(map(tuple, module.evaluated))
        assert 12 == len(module.seen)


class Brings(Sees):
    """Brings other things to the device at every occasion, and traces itself."""

    def forward(self, x):
        return self.layer(x)

    def training_step(self, batch, batch_idx):
        self.bring()
        return super().training_step(batch, batch_idx)

    def bring(self, *_):
        brought = self.trainer.strategy.batch_to_device(torch.ones(3))
        assert [1.0, 1.0, 1.0] == brought.tolist()
        assert ["x"] == list(self.trainer.strategy.batch_to_device({"x": torch.ones(3)}))
        self.to_torchscript(method="trace", example_inputs=torch.ones(2, 1))

    on_train_batch_start = on_train_batch_end = on_validation_batch_end = on_train_epoch_end = bring
    on_validation_epoch_end = bring


@pytest.mark.parametrize(
    "factory, train",
    [
        (skipping, "train"),
        (noisy_train, "train"),
        (side_by_side, ("a", "b")),
        (side_by_side, "a"),
        (side_by_side_noisy, ("a", "b")),
    ],
)
@pytest.mark.parametrize("val", ["ours", "tuples"])
def test_what_else_is_brought_to_the_device_in_a_fit_is_left_alone(factory, train, val):
    class Own(datamodule_class(factory, train=train)):
        def val_dataloader(self):
            tuples = DataLoader(TensorDataset(torch.arange(12.0)), batch_size=4)
            return tuples if val == "tuples" else super().val_dataloader()

    module = Brings()
    trainer(max_epochs=1, val_check_interval=0.5).fit(module, datamodule=Own())
    assert 6 == len(module.seen)
    if val == "tuples":
        assert {"list"} == set(module.evaluated)
    if isinstance(train, tuple) and factory is side_by_side_noisy:
        assert all(all(noise for _, noise in step) for step in module.seen)


class Together(Sees):
    """Notes what each part of its batches has, train and val."""

    def training_step(self, batch, _):
        ours, beside = self.parts(batch)
        self.seen.append(
            (ours["id"].tolist(), ours.get("noise", torch.empty(0)).tolist(), sorted(ours), sorted(beside))
        )
        self.seen[-1] += (len(batch),)
        return self.layer(ours["x"][:, None]).mean()

    def parts(self, batch):
        batches = list(batch.values()) if isinstance(batch, dict) else list(batch)
        return batches[0], batches[1] or {}


def in_dict(loader):
    return {"a": loader, "b": others()}


def in_list(loader):
    return [loader, others()]


def in_tuple(loader):
    return (loader, others())


def nested(mode):
    return lambda loader: CombinedLoader({"a": loader, "b": others()}, mode)


@pytest.mark.parametrize(
    "together",
    [
        in_dict,
        in_list,
        in_tuple,
        *map(nested, ["min_size", "max_size", "max_size_cycle"]),
        lambda one: {"a": Unsized(one), "b": others()},
    ],
)
@pytest.mark.parametrize("factory", [noisy_train, all_marked, skipping])
def test_of_loaders_side_by_side_each_part_is_finished_with_its_own_stages(together, factory):
    trainer(max_epochs=2, limit_val_batches=0).fit(
        module := Together(), datamodule=of(factory, train_dataloader=together)
    )
    expected = [step[0] for step in epochs(factory(), count=2)]
    entries = {noisy_train: ["id", "noise", "x"], all_marked: ["id", "marked", "x"], skipping: ["id", "x"]}[factory]
    seen = [(ids, noise) for ids, noise, *_ in module.seen]
    if len(seen) == len(expected):
        assert expected == seen
    else:  # as many steps as the shorter has
        assert 10 == len(seen)
        assert expected[:5] == seen[:5]
    assert all(
        entries == ours and beside in (["id", "x"], []) and 2 == count for _, _, ours, beside, count in module.seen
    )


@pytest.mark.parametrize("mode", ["min_size", "max_size", "max_size_cycle"])
def test_a_loader_beside_itself_is_finished_in_each_place(mode):
    data = of(noisy_train, train_dataloader=lambda loader: CombinedLoader([loader, loader], mode))
    trainer(max_epochs=1, limit_val_batches=0).fit(module := Together(), datamodule=data)
    assert {("id", "noise", "x")} == {tuple(one) for *_, ours, beside, _ in module.seen for one in (ours, beside)}
    assert 6 == len(module.seen)


@pytest.mark.parametrize("mode", ["min_size", "max_size", "max_size_cycle", "sequential"])
def test_val_loaders_together_are_finished_each_for_itself(mode):
    class Parts(Sees):
        def validation_step(self, batch, batch_idx, dataloader_idx=0):
            parts = [batch] if mode == "sequential" else batch.values()
            self.evaluated += [tuple(sorted(part)) for part in parts if part is not None]

    together = {"p": lambda one: one, "q": lambda one: one, "r": plain}
    data = of(all_marked, val_dataloader=lambda one: CombinedLoader({n: f(one) for n, f in together.items()}, mode))
    trainer(max_epochs=1, num_sanity_val_steps=0).fit(module := Parts(), datamodule=data)
    counts = Counter(module.evaluated)
    assert {("id", "x"), ("id", "marked", "x")} == set(counts)
    assert 4 == counts["id", "marked", "x"] or mode == "max_size_cycle"


@pytest.mark.parametrize("hooks", [{"on_before_batch_transfer": lambda self, batch, _: cloned(batch)}, {}])
def test_parts_that_a_hook_makes_anew_are_known_by_their_places(hooks):
    data = of(noisy_train, train_dataloader=in_dict, **hooks)
    module = type("Module", (Together, Clones), {})() if not hooks else Together()
    trainer(max_epochs=2, limit_val_batches=0).fit(module, datamodule=data)
    assert [step[0] for step in epochs(noisy_train(), count=1)][:5] == [
        (ids, noise) for ids, noise, *_ in module.seen[:5]
    ]
    assert all(["id", "x"] == beside for _, _, _, beside, _ in module.seen)


@pytest.mark.parametrize("precision", ["64-true", "bf16-true", "32-true"])
def test_batches_that_the_precision_makes_anew_are_known(precision):
    class Marked(Notes):
        def training_step(self, batch, _):
            self.seen.append(sorted(batch))
            return self.layer(batch["x"][:, None]).mean()

        def validation_step(self, batch, _):
            self.evaluated.append(sorted(batch))

    trainer(max_epochs=2, precision=precision).fit(module := Marked(), datamodule=datamodule(only_floats()))
    assert 6 * [["marked", "x"]] == module.seen
    assert {("marked", "x")} == set(map(tuple, module.evaluated))


def names() -> fdm.Pipeline:
    return fdm.pipeline(fdm.load(letters), fdm.batch(4), fdm.transfer(), fdm.transform(in_capitals))


def letters():
    return {"train": list("abcdefghijkl"), "val": list("mnop")}


def in_capitals(batch):
    return [each.upper() for each in batch]


@pytest.mark.parametrize("wrapper", [lambda loader: loader, Sized, Unsized], ids=["bare", "sized", "unsized"])
def test_batches_without_tensors_are_known(wrapper):
    class Reads(Notes):
        def training_step(self, batch, _):
            self.seen.append("".join(batch))
            return self.layer(torch.ones(1, 1)).mean()

        def validation_step(self, batch, _):
            self.evaluated.append("".join(batch))

    data = of(names, train_dataloader=wrapper)
    trainer(max_epochs=2, num_sanity_val_steps=0).fit(module := Reads(), datamodule=data)
    assert 2 * ["ABCD", "EFGH", "IJKL"] == module.seen
    assert 2 * ["MNOP"] == module.evaluated
