"""Coming from Lightning: datasets and datamodules as pipelines, and what cannot be carried over; Fabric and others."""

import lightning.pytorch as pl
import pytest
import torch
from lightning.fabric import Fabric
from lit import NOISY, PLAIN, Notes, epochs, quiet, trainer
from torch.utils.data import DataLoader, Dataset, IterableDataset, WeightedRandomSampler

import fdm
import fdm.lightning
from fdm.lightning import from_datamodule, from_datasets


pytestmark = quiet


class Numbers(Dataset):
    def __init__(self, n, first=0):
        self.n, self.first = n, first

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        if not 0 <= index < self.n:
            raise IndexError(index)
        return {"x": torch.tensor(float(self.first + index)), "id": self.first + index}


class Stream(IterableDataset):
    def __iter__(self):
        return iter([1])


def stacked(examples):
    return {"x": torch.stack([each["x"] for each in examples]), "id": torch.tensor([each["id"] for each in examples])}


class Classic(pl.LightningDataModule):
    def __init__(self, size=4):
        super().__init__()
        self.size = size

    def setup(self, stage):
        if stage == "fit":
            self.train, self.val = torch.utils.data.random_split(Numbers(20), [14, 6], torch.Generator().manual_seed(1))
        if stage == "test":
            self.test = Numbers(6, first=50)

    def train_dataloader(self):
        return DataLoader(self.train, batch_size=self.size, shuffle=True, drop_last=True)

    def val_dataloader(self):
        return [DataLoader(self.val, batch_size=self.size), DataLoader(Numbers(3), batch_size=self.size)]

    def test_dataloader(self):
        return DataLoader(self.test, batch_size=2, collate_fn=stacked)


def test_datasets_make_a_datamodule():
    data = from_datasets(Numbers(10), val_dataset=[Numbers(4), Numbers(2)], batch_size=4, seed=5)
    module = Notes()
    trainer(max_epochs=2, num_sanity_val_steps=0).fit(module, datamodule=data)
    assert [4, 4, 2] * 2 == [len(ids) for step in module.seen for ids, _ in step]
    for epoch in (module.seen[:3], module.seen[3:]):
        assert list(range(10)) == sorted(number for step in epoch for ids, _ in step for number in ids)
    assert module.seen[:3] != module.seen[3:]
    assert [(0, [0, 1, 2, 3]), (1, [0, 1])] * 2 == module.evaluated
    assert [[0, 10, 20]] == [
        p.tolist() for p in trainer().predict(Notes(), from_datasets(predict_dataset=Numbers(3), batch_size=3))
    ]
    with pytest.raises(fdm.DataError, match="'train' is a Stream, which has no examples by number"):
        from_datasets(Stream())
    with pytest.raises(fdm.DataError, match="one dataset at least"):
        from_datasets()


def test_a_datamodule_by_hand_becomes_a_pipeline():
    p = from_datamodule(Classic())
    with fdm.open(p) as data:
        assert {"train": 14, "val_0": 6, "val_1": 3, "test": 6} == dict(data.splits)
        assert [3, 2, 1, 3] == [len(data.loader(name)) for name in data.splits]
        assert [50, 51] == data.loader("test")[0]["id"].tolist()
        orders = [[batch["id"].tolist() for batch in data.loader("train", epoch=epoch)] for epoch in range(2)]
        assert orders[0] != orders[1]
        by_hand = Classic()
        by_hand.setup("fit")
        ids = sorted(by_hand.train[index]["id"] for index in range(14))
        assert ids == sorted(data.dataset("train")[index]["id"] for index in range(14))
    assert p == from_datamodule(Classic())
    assert p.stages[1] == fdm.shuffle().on("train")
    module = Notes()
    trainer(max_epochs=1).fit(module, datamodule=fdm.lightning.datamodule(p, val=("val_0", "val_1")))
    assert 3 == len(module.seen)


class Peculiar(Classic):
    def train_dataloader(self):
        weights = WeightedRandomSampler([1.0] * 7 + [0.0] * 7, num_samples=8)
        first = next(iter(self.__dict__))  # something that a lambda could hold
        return DataLoader(self.train, 4, sampler=weights, num_workers=2, collate_fn=lambda examples: (first, examples))

    def val_dataloader(self):
        return DataLoader(self.val, 4, sampler=[3, 1])

    def test_dataloader(self):
        return DataLoader(Stream())

    def on_after_batch_transfer(self, batch, dataloader_idx):
        return batch


def test_what_cannot_be_carried_over_is_said_plainly():
    with pytest.warns(UserWarning, match="could not carry over") as caught:
        p = from_datamodule(Peculiar())
    said = str(caught[0].message)
    for expected in (
        "train: collate_fn: batch takes a function with an importable name",
        "train: num_workers=2 is an executor's: workers=2",
        "val: its sampler, a list; say with fdm.shuffle",
        "test: a Stream has no examples by number",
        "on_after_batch_transfer: write it as fdm.transform(fn) or fdm.augment(fn) after fdm.transfer()",
    ):
        assert expected in said
    with fdm.open(p) as data:
        assert ["train", "val"] == list(data.splits)
        drawn = torch.cat([data.loader("train").indices(step) for step in range(2)])
        assert (8, True) == (len(drawn), bool((drawn < 7).all()))
    with pytest.raises(fdm.DataError, match="found no DataLoader to carry over: it has no loaders"):
        from_datamodule(pl.LightningDataModule())


def test_fabric_gives_device_and_ranks_and_keeps_the_place(tmp_path):
    fabric = Fabric(accelerator="cpu", devices=1)
    fabric.launch()
    with fdm.lightning.setup(fabric, NOISY, threads=1) as data:
        assert fdm.RankContext(device="cpu") == data.context
        model = torch.nn.Linear(1, 1)
        model, optimizer = fabric.setup(model, torch.optim.SGD(model.parameters(), 1e-3))
        seen = []
        for train in data.epochs("train", 2):
            for step, batch in enumerate(train, start=1):
                optimizer.zero_grad()
                fabric.backward(model(batch["x"][:, None]).mean())
                optimizer.step()
                seen.append([(batch["id"].tolist(), batch["noise"].tolist())])
                if (train.epoch, step) == (1, 2):
                    fabric.save(tmp_path / "place.ckpt", {"model": model, "place": train.snapshot(step).to_dict()})
    assert epochs(NOISY, 2) == seen
    state = fabric.load(tmp_path / "place.ckpt", {"model": model})
    with fdm.lightning.setup(fabric, data) as again:  # opened data stands for its pipeline
        rest = again.loader("train", start=fdm.Snapshot.from_dict(state["place"]))
        assert [step[0][0] for step in seen[8:]] == [batch["id"].tolist() for batch in rest]
    with pytest.raises(fdm.PipelineError, match="setup takes a Pipeline"):
        fdm.lightning.setup(fabric, [1])


def test_accelerate_gives_device_and_ranks():
    accelerate = pytest.importorskip("accelerate")
    accelerator = accelerate.Accelerator(cpu=True)
    context = fdm.RankContext(
        accelerator.process_index,
        accelerator.num_processes,
        accelerator.local_process_index,
        device=str(accelerator.device),
    )
    model = torch.nn.Linear(1, 1)
    model, optimizer = accelerator.prepare(model, torch.optim.SGD(model.parameters(), 1e-3))
    with fdm.open(NOISY, context=context) as data:
        for batch in data.loader("train"):
            optimizer.zero_grad()
            accelerator.backward(model(batch["x"][:, None]).mean())
            optimizer.step()


class Epochs:
    """What the page on Lightning gives to the Trainer of Hugging Face."""

    def __init__(self, data, split):
        self.data, self.split, self.epoch = data, split, 0

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __len__(self):
        return len(self.data.loader(self.split))

    def __iter__(self):
        return iter(self.data.loader(self.split, epoch=self.epoch))


class Linear(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.seen = torch.nn.Linear(1, 1), []

    def forward(self, x, id, **_):  # noqa: A002 - the names are the batch's
        self.seen.append(id.tolist())
        return {"loss": self.layer(x[:, None]).mean()}


@pytest.mark.filterwarnings("ignore")  # of its own parts
def test_the_trainer_of_hugging_face_gets_the_next_epoch_each_time(tmp_path):
    transformers = pytest.importorskip("transformers")

    class Trainer(transformers.Trainer):
        def get_train_dataloader(self):
            return Epochs(data, "train")

    def trained(model, resume=None):
        options = {"output_dir": str(tmp_path), "use_cpu": True, "report_to": [], "save_strategy": "epoch"}
        arguments = transformers.TrainingArguments(num_train_epochs=3, disable_tqdm=True, **options)
        Trainer(model=model, args=arguments).train(resume_from_checkpoint=resume)
        return model.seen

    with fdm.open(PLAIN) as data:
        expected = [step[0][0] for step in epochs(PLAIN, 3)]
        assert expected == trained(Linear())
        assert expected[6:] == trained(Linear(), str(tmp_path / "checkpoint-6"))
