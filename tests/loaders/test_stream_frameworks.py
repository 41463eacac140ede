"""Streams in the loops of others: nothing is sharded twice, no epoch comes twice, and they go on inside one."""

import warnings

import pytest
import torch

import fdm


def rows(n):
    return fdm.Table({"x": torch.arange(n).float()[:, None], "id": torch.arange(n)})


P = fdm.pipeline(fdm.clean(rows, n=22), fdm.shuffle(), fdm.batch(4), fdm.transfer())


def ids(batches):
    return [batch["id"].tolist() for batch in batches]


def epochs(data, stop):
    return [each for loader in data.epochs("all", stop) for each in ids(loader)]


@pytest.fixture
def data():
    with fdm.open(P) as data:
        yield data


@pytest.fixture
def accelerator():
    accelerate = pytest.importorskip("accelerate")
    return accelerate.Accelerator(cpu=True, gradient_accumulation_steps=4)


def test_accelerate_steps_at_the_end_of_each_epoch_as_with_its_own_loaders(data, accelerator):
    prepared = accelerator.prepare(torch.utils.data.DataLoader(list(range(22)), batch_size=4))
    layer = torch.nn.Linear(1, 1)
    steps = {}
    for name, loader in {"own": prepared, "stream": accelerator.prepare(data.stream("all"))}.items():
        steps[name] = []
        for _ in range(2):
            for _ in loader:
                with accelerator.accumulate(layer):
                    steps[name].append(accelerator.sync_gradients)
    assert 2 * [False, False, False, True, False, True] == steps["own"] == steps["stream"]
    assert not accelerator.gradient_state.in_dataloader


def test_a_pass_that_is_left_early_leaves_nothing_with_accelerate(data, accelerator):
    for _ in data.stream("all"):
        assert accelerator.gradient_state.in_dataloader
        break
    assert not accelerator.gradient_state.in_dataloader


def test_accelerate_keeps_the_place_and_skips_steps_that_it_counts(data, accelerator, tmp_path):
    stream, whole = data.stream("all"), epochs(data, 3)
    assert stream is accelerator.prepare(stream)
    assert stream is accelerator.prepare(stream)
    assert whole[:6] == ids(stream)
    for step, batch in enumerate(stream):
        assert whole[6 + step] == batch["id"].tolist()
        if step == 2:
            accelerator.save_state(tmp_path)
            break
    accelerator.load_state(tmp_path)
    assert whole[9:] == ids(stream) + ids(stream)
    stream.set_epoch(1)
    assert whole[8:] == ids(accelerator.skip_first_batches(stream, 2)) + ids(stream)


def test_accelerate_keeps_the_place_of_a_registered_stream(data, accelerator, tmp_path):
    stream = data.stream("all")
    accelerator.register_for_checkpointing(stream)
    next(iter(stream))
    accelerator.save_state(tmp_path)
    list(stream)
    accelerator.load_state(tmp_path)
    assert epochs(data, 1)[1:] == ids(stream)


def test_fabric_neither_shards_a_stream_again_nor_counts_its_epochs(tmp_path):
    fabric = pytest.importorskip("lightning.fabric").Fabric(accelerator="cpu", devices=1)
    fabric.launch()
    with fdm.open(P, context=fdm.RankContext(1, 2)) as data:
        requires: bool = fabric._requires_distributed_sampler(data.stream("all"))  # what it asks on several devices
        assert not requires
        stream = data.stream("all", start=data.loader("all", epoch=3).snapshot(1))
        loader = fabric.setup_dataloaders(stream)
        assert ids(data.loader("all", epoch=3))[1:] + ids(data.loader("all", epoch=4)) == ids(loader) + ids(loader)
        fabric.save(tmp_path / "state.ckpt", {"data": loader})
        again = data.stream("all")
        fabric.load(tmp_path / "state.ckpt", {"data": again})
        assert 5 == again.epoch


@pytest.mark.parametrize("step", [1, 6, 8, 12])
def test_the_trainer_of_lightning_goes_on_inside_an_epoch(data, tmp_path, step):
    pl = pytest.importorskip("lightning.pytorch")
    whole = epochs(data, 3)
    assert whole == fitted(pl, data, tmp_path, step)
    assert whole[step:] == fitted(pl, data, tmp_path, step, tmp_path / f"step={step}.ckpt")


def fitted(pl, data, folder, step, resumed=None):
    seen = []

    class Model(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)

        def training_step(self, batch):
            seen.append(batch["id"].tolist())
            return self.layer(batch["x"]).mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 1e-3)

    keep = pl.callbacks.ModelCheckpoint(folder, every_n_train_steps=step, save_top_k=-1, filename="{step}")
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a DataLoader could have workers, and that the folder is not empty
        trainer = pl.Trainer(max_epochs=3, accelerator="cpu", callbacks=[keep], **quiet)
        trainer.fit(Model(), data.stream("all"), ckpt_path=resumed)
    return seen


def test_ignite_keeps_a_stream_among_its_states(data, tmp_path):
    pytest.importorskip("ignite")
    from ignite.engine import Engine, Events
    from ignite.handlers import Checkpoint, DiskSaver

    def run(checkpoint=None):
        seen = []
        stream, engine = data.stream("all"), Engine(lambda _, batch: seen.append(batch["id"].tolist()))
        states = {"engine": engine, "data": stream}
        keep = Checkpoint(states, DiskSaver(tmp_path, require_empty=False))
        engine.add_event_handler(Events.ITERATION_COMPLETED(once=8), keep)
        if checkpoint is not None:
            Checkpoint.load_objects(states, torch.load(checkpoint))
        engine.run(stream, max_epochs=3)
        return seen

    assert epochs(data, 3) == run()
    assert epochs(data, 3)[8:] == run(next(tmp_path.glob("*.pt")))
