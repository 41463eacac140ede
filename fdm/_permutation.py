"""Keyed permutations and random draws by position: any element of a shuffle, without the others."""

import hashlib
import json
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray


_Word = TypeVar("_Word", np.uint32, np.uint64)

_ROUNDS = 8  # four are visibly correlated at some lengths, six are not; eight cost a microsecond more a block
_SORTED_BELOW = 4097  # a cipher on so few bits cannot reach all orders; sorting them costs less than a batch


def derive(seed: int, *names: str | int) -> int:
    """A 64-bit key for the random stream that `names` name below `seed`.

    Streams are told apart by a hash of all the names, never by sums or positions, so (seed 0, epoch 1) and
    (seed 1, epoch 0) share nothing, and a new stage moves no other.

    >>> derive(0, "shuffle", "train", 1) == derive(1, "shuffle", "train", 0)
    False
    """
    text = json.dumps([seed, *names]).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def permute(positions: NDArray[np.int64], n: int, key: int) -> NDArray[np.int64]:
    """The elements at `positions` of the permutation of `range(n)` that `key` names.

    Equivalent to `shuffled(range(n), key)[positions]`, in memory independent of n. Short ranges are sorted by a keyed
    hash. Longer ones go through a Feistel network over the product of two ranges near the square root of n (Black and
    Rogaway, "Ciphers with arbitrary finite domains", 2002), and the few positions that it leads out of `range(n)` go
    through it again until they are back.

    >>> sorted(permute(np.arange(10), 10, key=7).tolist())
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    if n < _SORTED_BELOW:
        return np.argsort(random_bits(np.arange(n), key), kind="stable")[positions]
    keys = _round_keys(key, n)
    if n < 2**32:  # half the memory traffic, and vector instructions multiply 32 bits
        return _walk(positions.astype(np.uint32), np.uint32(n), keys.astype(np.uint32))
    return _walk(positions.astype(np.uint64), np.uint64(n), keys)


def random_bits(counters: NDArray[np.int64], key: int) -> NDArray[np.uint64]:
    """64 random bits for each counter under `key`: the splitmix64 finaliser, keyed before and between its steps.

    >>> bool((random_bits(np.arange(3), 1) == random_bits(np.arange(3), 1)).all())
    True
    """
    before, between = (np.uint64(derive(key, name)) for name in ("before", "between"))
    x = counters.astype(np.uint64) + before
    for multiplier in (0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0xD6E8FEB86659FD93):
        x = (x ^ (x >> np.uint64(30))) * np.uint64(multiplier)
        x ^= between
    return x ^ (x >> np.uint64(31))


def uniforms(counters: NDArray[np.int64], key: int) -> NDArray[np.float64]:
    """A uniform number in [0, 1) for each counter under `key`, with 53 random bits."""
    return (random_bits(counters, key) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _walk(x: NDArray[_Word], n: _Word, keys: NDArray[_Word]) -> NDArray[np.int64]:
    """The cipher of each x, applied again until it is below n."""
    out = _feistel(x, n, keys)
    (outside,) = np.nonzero(out >= n)
    while len(outside):
        walked = _feistel(out[outside], n, keys)
        out[outside] = walked
        outside = outside[walked >= n]
    return out.astype(np.int64)


def _round_keys(key: int, n: int) -> NDArray[np.uint64]:
    raw = hashlib.shake_256(f"{key}:{n}".encode()).digest(16 * _ROUNDS)
    keys = np.frombuffer(raw, dtype="<u8").reshape(_ROUNDS, 2).copy()
    keys[:, 1] |= np.uint64(1)  # an even multiplier would lose bits
    return keys


def _feistel(x: NDArray[_Word], n: _Word, keys: NDArray[_Word]) -> NDArray[Any]:
    """A permutation of `range(count * 2**low)`, which is hardly larger than `range(n)`.

    x is `left * 2**low + right`. In turn, a hash of the right half is added to the left modulo `count`, and a hash of
    the left half is xored to the right.
    """
    word = x.dtype.type
    low = int(n - 1).bit_length() // 2
    count = word(-(-int(n) // 2**low))
    high_bits = word(8 * x.dtype.itemsize - low)
    left, right = x >> word(low), x & word(2**low - 1)
    mixed, scratch = np.empty_like(x), np.empty_like(x)
    for to_left, to_right in zip(keys[::2], keys[1::2], strict=True):
        _mix(right, to_left, mixed, scratch)
        np.floor_divide(mixed, count, out=scratch)  # numpy divides by vector instructions, but has none for %
        np.multiply(scratch, count, out=scratch)
        np.subtract(mixed, scratch, out=mixed)
        np.add(left, mixed, out=left)
        np.subtract(left, count, out=mixed)
        np.minimum(left, mixed, out=left)  # what would be below 0 has wrapped to far above count
        _mix(left, to_right, mixed, scratch)
        np.right_shift(mixed, high_bits, out=mixed)
        np.bitwise_xor(right, mixed, out=right)
    return (left << word(low)) | right


def _mix(x: NDArray[Any], key: NDArray[Any], mixed: NDArray[Any], scratch: NDArray[Any]) -> None:
    """A hash of each x under a key, into `mixed`."""
    width = 8 * x.dtype.itemsize
    np.add(x, key[0], out=mixed)
    np.multiply(mixed, key[1], out=mixed)
    np.right_shift(mixed, x.dtype.type(width // 2), out=scratch)
    np.bitwise_xor(mixed, scratch, out=mixed)
    np.multiply(mixed, x.dtype.type(0x9E3779B1 if width == 32 else 0xD6E8FEB86659FD93), out=mixed)
