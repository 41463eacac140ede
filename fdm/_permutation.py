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
    hash. Longer ones go through an unbalanced Feistel network over the smallest power of two that holds n, walking
    each cycle until it is back in range (Black and Rogaway, "Ciphers with arbitrary finite domains", 2002).

    >>> sorted(permute(np.arange(10), 10, key=7).tolist())
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    if n < _SORTED_BELOW:
        return np.argsort(random_bits(np.arange(n), key), kind="stable")[positions]
    bits = (n - 1).bit_length()
    keys = _round_keys(key, n)
    if n < 2**32:  # half the memory traffic, and vector instructions multiply 32 bits
        return _walk(positions.astype(np.uint32), np.uint32(n), bits, keys.astype(np.uint32))
    return _walk(positions.astype(np.uint64), np.uint64(n), bits, keys)


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


def _walk(x: NDArray[_Word], n: _Word, bits: int, keys: NDArray[_Word]) -> NDArray[np.int64]:
    """The cipher of each x, applied again until it is below n."""
    out = _feistel(x, bits, keys)
    (outside,) = np.nonzero(out >= n)
    while len(outside):
        walked = _feistel(out[outside], bits, keys)
        out[outside] = walked
        outside = outside[walked >= n]
    return out.astype(np.int64)


def _round_keys(key: int, n: int) -> NDArray[np.uint64]:
    raw = hashlib.shake_256(f"{key}:{n}".encode()).digest(16 * _ROUNDS)
    keys = np.frombuffer(raw, dtype="<u8").reshape(_ROUNDS, 2).copy()
    keys[:, 1] |= np.uint64(1)  # an even multiplier would lose bits
    return keys


def _feistel(x: NDArray[_Word], bits: int, keys: NDArray[_Word]) -> NDArray[Any]:
    word = x.dtype.type
    width = 8 * x.dtype.itemsize
    multiplier = word(0x9E3779B1 if width == 32 else 0xD6E8FEB86659FD93)
    low = bits // 2
    shifts = word(width - (bits - low)), word(width - low)
    left, right = x >> word(low), x & word((1 << low) - 1)
    mixed, folded = np.empty_like(x), np.empty_like(x)
    for turn, (addend, factor) in enumerate(keys):
        np.add(right, addend, out=mixed)
        np.multiply(mixed, factor, out=mixed)
        np.right_shift(mixed, word(width // 2), out=folded)
        np.bitwise_xor(mixed, folded, out=mixed)
        np.multiply(mixed, multiplier, out=mixed)
        np.right_shift(mixed, shifts[turn % 2], out=mixed)
        np.bitwise_xor(left, mixed, out=left)
        left, right = right, left
    return (left << word(low)) | right
