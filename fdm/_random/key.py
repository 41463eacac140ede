"""Keys: values that name random streams, and draws from them by position, with the same bits on every device."""

import hashlib
import json
import operator
from collections.abc import Iterator
from math import ceil, pi, prod
from typing import Any, Final

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._checks import integer
from .._errors import DataError
from .._public import public
from .._text import short


@public
@attrs.frozen(init=False, eq=False, repr=False)
class Key:
    """A random stream, or one for each example of a batch: what `augment` functions draw from.

    `Key(seed, *names)` is the stream that the names name below the seed. Drawing twice from one key gives the same
    numbers, so draw all that is needed at once (`key.uniform(3)`), or from keys of its own for each purpose
    (`key.split(2)`, `key.fold("angle")`). Draws of different methods are independent of each other.

    The key of a batch has a key for each example, `key[i]`, and its draws have a leading batch dimension: row i is what
    `key[i]` alone draws. Draws are on the device of the key, and equal on all devices, `normal` to rounding.

    >>> import torch
    >>> key = Key(0, "crop")
    >>> key.uniform(2).equal(key.uniform(2)), key.uniform(2).equal(key.fold("x").uniform(2))
    (True, False)
    >>> key.fold(torch.arange(5)).randint(0, 10, 3).shape
    torch.Size([5, 3])
    """

    _high: int | Tensor
    _low: int | Tensor

    def __init__(self, seed: int, *names: str | int) -> None:
        text = json.dumps([integer("Key: seed", seed, DataError), *map(_name, names)]).encode()
        words = hashlib.blake2b(text, digest_size=16).digest()
        _set(self, int.from_bytes(words[:8], "little"), int.from_bytes(words[8:], "little"))

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Uniform numbers in [low, high), float32, of `shape`."""
        if (low, high) == (0.0, 1.0):
            return self._unit(shape)
        if not (_is_number(low) and _is_number(high) and -_LARGEST / 2 <= low <= high <= _LARGEST / 2):
            msg = f"uniform draws from low to high, float32 numbers in this order, not from {low!r} to {high!r}"
            raise DataError(msg)
        unit = self._unit(shape)
        last = np.nextafter(np.float32(high), np.float32(low)).item()  # to which rounding may not add the rest
        return unit.mul_(high - low).add_(low).clamp_(max=max(last, low))

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers, float32, of `shape` (Box and Muller, 1958)."""
        bits = self._draw(_NORMAL, shape, 56)
        radius = ((bits >> 24) + 1).to(torch.float32).mul_(2.0**-32).log_().mul_(-2).sqrt_()
        turn = (bits & (2**24 - 1)).to(torch.float32).mul_(2 * pi * 2.0**-24)
        return turn.cos_().mul_(radius)

    def bernoulli(self, p: float, *shape: int) -> Tensor:
        """True with probability `p`, bool, of `shape`."""
        if not (_is_number(p) and 0 <= p <= 1):
            msg = f"bernoulli takes a probability, a number from 0 to 1, not {p!r}"
            raise DataError(msg)
        return self._draw(_BERNOULLI, shape, 53) < ceil(float(p) * 2**53)

    def randint(self, low: int, high: int, *shape: int) -> Tensor:
        """Integers from `low` up to, but without, `high`, int64, of `shape`; uniform to (high - low) / 2**63."""
        low, high = integer("randint: low", low, DataError), integer("randint: high", high, DataError)
        if not (-(2**63) <= low < high <= 2**63 and high - low < 2**63):
            msg = f"randint draws from low up to high, which is above it, not from {low} to {high}"
            raise DataError(msg)
        return self._draw(_RANDINT, shape, 63).remainder_(high - low).add_(low)

    def permutation(self, n: int) -> Tensor:
        """The numbers from 0 to n - 1 in random order, int64, of shape (n,)."""
        return self._draw(_PERMUTATION, (n,), 63).argsort(dim=-1, stable=True)

    def generator(self) -> torch.Generator:
        """A `torch.Generator` on the CPU that is seeded by the key, for functions that take one."""
        if isinstance(self._high, Tensor) and self._high.ndim:
            msg = f"generator is for the key of one example, not of {len(self)}; take one: key[i].generator()"
            raise DataError(msg)
        return torch.Generator().manual_seed(int(self._draw(_GENERATOR, (), 63)))

    def split(self, n: int) -> tuple["Key", ...]:
        """`n` keys that are independent of this one and of each other."""
        return tuple(self._child(_SPLIT, number) for number in range(_size("split", n)))

    def fold(self, name: str | int | Tensor) -> "Key":
        """The key that `name`, a string or an integer, names below this one, independent of it.

        A one-dimensional tensor of integers makes a key for each; for the key of a batch, one for each example.
        """
        if isinstance(name, Tensor):
            numbers = _numbers(name).to(self._high.device if isinstance(self._high, Tensor) else "cpu")
            if self._is_batch() and len(numbers) != len(self):
                msg = f"fold takes a number for each of the {len(self)} examples of a batch, not {len(numbers)}"
                raise DataError(msg)
            return _key(*(_bits(self._high, self._low, _FOLD + lane, numbers, 64) for lane in (0, 1)))
        if isinstance(name, str):
            return self._child(_FOLD_NAME, _hashed(name.encode()))
        number = integer("fold: name", name, DataError)
        if -(2**63) <= number < 2**63:
            return self._child(_FOLD, number)
        return self._child(_FOLD_NAME, _hashed(str(number).encode(), b"number"))

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> "Key":
        """The same key, which draws on `device`."""
        moved = (
            torch.tensor(_wrapped(word), device="cpu") if isinstance(word, int) else word
            for word in (self._high, self._low)
        )
        return _key(*(word.to(device, non_blocking=non_blocking) for word in moved))

    def unbind(self) -> list["Key"]:
        """The keys of the examples of a batch, as a list."""
        high, low = (word.tolist() for word in self._batch())
        return [_key(one % 2**64, other % 2**64) for one, other in zip(high, low, strict=True)]

    def __len__(self) -> int:
        """The number of examples of the key of a batch; the key of one example has none."""
        return len(self._batch()[0])

    def __getitem__(self, index: int) -> "Key":
        return _key(*(word[operator.index(index)] for word in self._batch()))

    def __iter__(self) -> Iterator["Key"]:
        return iter(self.unbind())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and self._words() == other._words()

    def __hash__(self) -> int:
        return hash(str(self._words()))

    def __repr__(self) -> str:
        if self._is_batch():
            return f"<fdm.Key of {len(self)} examples>"
        return "<fdm.Key {:016x}{:016x}>".format(*(word % 2**64 for word in self._words()))

    def _unit(self, shape: tuple[int, ...]) -> Tensor:
        drawn = self._draw(_UNIFORM, shape, 24)
        if drawn.is_cpu:  # in place of two calls of torch's, one of numpy's, with the same bits
            scaled = np.multiply(drawn.numpy(), 2.0**-24, dtype=np.float32, casting="unsafe")
            return torch.from_numpy(np.asarray(scaled))
        return drawn.to(torch.float32).mul_(2.0**-24)

    def _draw(self, domain: int, shape: tuple[int, ...], width: int) -> Tensor:
        """Numbers of `width` random bits for each element of `shape`, int64, with a leading dimension for a batch."""
        count = prod([_size("a shape", size) for size in shape])
        if isinstance(self._high, int) and isinstance(self._low, int) and count <= _FEW:
            low = self._low ^ _DOMAINS[domain]
            bits = [_bits_of_one(self._high, low, counter) >> (64 - width) for counter in range(count)]
            return torch.from_numpy(np.array(bits, dtype=np.int64).reshape(shape))
        counters = torch.arange(count, device="cpu")
        if not self._is_batch():
            return _bits(self._high, self._low, domain, counters, width).reshape(shape)
        high, low_ = self._batch()
        return _bits(high[:, None], low_[:, None], domain, counters, width).reshape(len(high), *shape)

    def _child(self, domain: int, number: int) -> "Key":
        """The key of this number in a domain of use."""
        if isinstance(self._high, int) and isinstance(self._low, int):
            return _key(*(_bits_of_one(self._high, self._low ^ _DOMAINS[domain + lane], number) for lane in (0, 1)))
        counter = torch.tensor([_wrapped(number)], device="cpu")
        made = (_bits(self._high, self._low, domain + lane, counter, 64) for lane in (0, 1))
        return _key(*(words if self._is_batch() else words[0] for words in made))

    def _is_batch(self) -> bool:
        return isinstance(self._high, Tensor) and self._high.ndim == 1

    def _batch(self) -> tuple[Tensor, Tensor]:
        if not (isinstance(self._high, Tensor) and isinstance(self._low, Tensor) and self._high.ndim):
            msg = "the key of one example has no length and no parts; split(n) and fold(name) make more keys of it"
            raise TypeError(msg)
        return self._high, self._low

    def _words(self) -> list[Any]:
        words = (
            word if isinstance(word, Tensor) else torch.tensor(_wrapped(word), device="cpu")
            for word in (self._high, self._low)
        )
        return [word.tolist() for word in words]


def chosen(condition: Tensor, key: Key, other: Key) -> Key:
    """The key of a batch that has for each example that of `key` where the condition holds, and that of `other` elsewhere."""
    pairs = zip(key._batch(), other._batch(), strict=True)  # noqa: SLF001 - of this very module
    return _key(*(torch.where(condition, one, another) for one, another in pairs))


def _key(high: Any, low: Any) -> Key:
    """The key of these words: tensors of one dimension for a batch, else a number each, or tensors on a device."""
    if isinstance(high, Tensor) and high.ndim == 0 and high.is_cpu:
        high, low = int(high) % 2**64, int(low) % 2**64
    return _set(Key.__new__(Key), high, low)


def _set(key: Key, high: int | Tensor, low: int | Tensor) -> Key:
    object.__setattr__(key, "_high", high)
    object.__setattr__(key, "_low", low)
    return key


def _bits_of_one(high: int, low: int, counter: int) -> int:
    """64 random bits for a counter under a key of two words.

    The finaliser of splitmix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014) over a
    Weyl sequence that begins at the first word, with a third step, and the second word between the steps.
    """
    x = (counter * _WEYL + high) % 2**64
    for shift, multiplier in _STEPS:
        x = (x ^ (x >> shift)) * multiplier % 2**64 ^ low
    return x ^ (x >> 32)


def _bits(high: int | Tensor, low: int | Tensor, domain: int, counters: Tensor, width: int) -> Tensor:
    """The first `width` of the bits for each counter, as int64, apart for each domain of use."""
    if isinstance(high, Tensor) and isinstance(low, Tensor) and not high.is_cpu:
        bits = _bits_on_device(high, low ^ _wrapped(_DOMAINS[domain]), counters.to(high.device))
        return _shifted(bits, 64 - width)
    on_host = _bits_on_host(_unsigned(high), _unsigned(low) ^ np.uint64(_DOMAINS[domain]), _unsigned(counters))
    return torch.from_numpy((on_host >> np.uint64(64 - width)).view(np.int64))


def _bits_on_host(high: Any, low: Any, counters: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The same for many at once, in numpy's unsigned arithmetic."""
    x: NDArray[np.uint64] = counters * np.uint64(_WEYL) + high
    for shift, multiplier in _STEPS:
        x ^= x >> np.uint64(shift)
        x *= np.uint64(multiplier)
        x ^= low
    x ^= x >> np.uint64(32)
    return x


def _bits_on_device(high: Tensor, low: Tensor, counters: Tensor) -> Tensor:
    """The same in int64, which wraps alike on every device; few know unsigned numbers."""
    x = counters * _wrapped(_WEYL) + high
    for shift, multiplier in _STEPS:
        x = (x ^ _shifted(x, shift)) * _wrapped(multiplier) ^ low
    return x ^ _shifted(x, 32)


def _shifted(bits: Tensor, by: int) -> Tensor:
    """Bits shifted to the right as unsigned numbers: zeros come in."""
    return (bits >> by) & (2 ** (64 - by) - 1) if by else bits


def _unsigned(word: int | Tensor) -> Any:
    return np.uint64(word) if isinstance(word, int) else word.numpy().view(np.uint64)


def _hashed(raw: bytes, person: bytes = b"") -> int:
    return int.from_bytes(hashlib.blake2b(raw, digest_size=8, person=person).digest(), "little")


def _wrapped(word: int) -> int:
    """A number modulo 2**64 as int64 has it."""
    return (word + 2**63) % 2**64 - 2**63


def _name(name: str | int) -> str | int:
    return name if isinstance(name, str) else integer("Key: name", name, DataError)


def _numbers(numbers: Tensor) -> Tensor:
    if numbers.ndim != 1 or numbers.is_floating_point() or numbers.is_complex() or numbers.dtype == torch.bool:
        msg = f"fold takes a string, an integer, or a tensor of integers of one dimension, not {short(numbers, 60)}"
        raise DataError(msg)
    return numbers.to(torch.int64).contiguous()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _size(what: str, size: Any) -> int:
    checked = size if type(size) is int else integer(f"{what}: size", size, DataError)
    if checked < 0:
        msg = f"{what} has sizes of at least 0, not {size!r}"
        raise DataError(msg)
    return checked


_UNIFORM, _NORMAL, _BERNOULLI, _RANDINT, _PERMUTATION, _GENERATOR, _SPLIT, _FOLD, _FOLD_NAME = range(0, 18, 2)
_DOMAINS: Final = tuple(_hashed(f"fdm key {domain}".encode()) for domain in range(18))
_LARGEST: Final = float(np.finfo(np.float32).max)
_WEYL: Final = 0x9E3779B97F4A7C15
_STEPS: Final = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 0xD6E8FEB86659FD93))
_FEW: Final = 8  # numbers for which Python's own arithmetic is faster than numpy's
