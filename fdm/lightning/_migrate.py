"""Given datasets: pipelines of datasets that are there already, and of the DataLoaders that read them."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import attrs
from torch import Tensor
from torch.utils.data import (
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    WeightedRandomSampler,
    default_collate,
)

from .._errors import PipelineError
from .._pipeline import Pipeline, pipeline
from .._sources.loadable import Given
from .._stages.constructors import batch, load, sample, shuffle
from .._stages.stage import Batch, Sample, Shuffle


@attrs.frozen(eq=False)
class Weights:
    """The weights of a sampler, as the function of a sample stage."""

    weights: Tensor

    def __call__(self, source: Any) -> Tensor:
        """The weights, one for each example of the source."""
        assert len(source) == len(self.weights), "the sampler has a weight for each example of its dataset"
        return self.weights


def named(role: str, given: Any) -> dict[str, Any]:
    """A dataset or loader by the name of its role; of several, each by role and its own name or number.

    >>> named("val", [[1], [2]])
    {'val_0': [1], 'val_1': [2]}
    """
    if isinstance(given, Mapping):
        return {f"{role}_{name}": each for name, each in given.items()}
    if isinstance(given, list | tuple):
        return {f"{role}_{number}": each for number, each in enumerate(given)}
    return {} if given is None else {role: given}


@attrs.frozen(eq=False)
class Read:
    """What a DataLoader does, as stages for its split, and what of it is no stage."""

    dataset: Any
    batch: Batch
    order: Shuffle | Sample | None
    left: tuple[str, ...]


def read_loader(name: str, loader: Any) -> Read | str:
    """The dataset, batch size and order of a DataLoader as stages, or why it cannot be carried over."""
    if not isinstance(loader, DataLoader):
        return f"{name}: a {type(loader).__name__} is no DataLoader; load its data with fdm.load or fdm.clean"
    if isinstance(loader.dataset, IterableDataset):
        return f"{name}: a {type(loader.dataset).__name__} has no examples by number; write it as a map-style dataset"
    if loader.batch_size is None:
        return f"{name}: its batch_sampler decides batches itself; say with fdm.batch and fdm.sample what it does"
    left = []
    try:
        collate = None if loader.collate_fn is default_collate else loader.collate_fn
        size = batch(loader.batch_size, drop_last=loader.drop_last, collate=collate)
    except PipelineError as error:
        size = batch(loader.batch_size, drop_last=loader.drop_last)
        left.append(f"{name}: collate_fn: {error}")
    order = _order(loader.sampler)
    if isinstance(order, str):
        left.append(f"{name}: {order}")
    if loader.num_workers:
        left.append(f"{name}: num_workers={loader.num_workers} is an executor's: workers={loader.num_workers}")
    if loader.worker_init_fn is not None:
        left.append(f"{name}: worker_init_fn is not needed for seeds: draw from the key of fdm.augment")
    return Read(loader.dataset, size, None if isinstance(order, str) else order, tuple(left))


def given_pipeline(reads: Mapping[str, Read], seed: int = 0) -> Pipeline:
    """The pipeline that reads these datasets as their loaders did; one batch stage holds for most."""
    order = [read.order.on(name) for name, read in reads.items() if read.order is not None]
    (common, _), *_ = Counter(read.batch for read in reads.values()).most_common(1)
    others = [read.batch.on(name) for name, read in reads.items() if read.batch != common]
    source = load(Given.of({name: read.dataset for name, read in reads.items()}))
    return pipeline(source, *order, common, *others, seed=seed)


def datasets_pipeline(datasets: Mapping[str, Any], shuffled: Iterable[str], size: int, seed: int) -> Pipeline:
    """The pipeline of given datasets, of which some are shuffled."""
    order = [shuffle().on(*shuffled)] if shuffled else []
    return pipeline(load(Given.of(datasets)), *order, batch(size), seed=seed)


def _order(sampler: Any) -> Shuffle | Sample | str | None:
    """A sampler as an order stage; None for the order of the data; a sentence for what cannot be carried over."""
    match sampler:
        case WeightedRandomSampler(replacement=True):
            return sample(Weights(sampler.weights.clone()), size=sampler.num_samples)
        case RandomSampler(replacement=False) if sampler.num_samples == len(sampler.data_source):
            return shuffle()
        case DistributedSampler():
            return shuffle() if sampler.shuffle else None
        case SequentialSampler():
            return None
    return f"its sampler, a {type(sampler).__name__}; say with fdm.shuffle, fdm.sample or fdm.take what it does"
