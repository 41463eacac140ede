"""Many keyed permutations at once: each position in a range of its own size, under a key of its own."""

import numpy as np
from numpy.typing import NDArray


Words = NDArray[np.uint64]


def permute_each(positions: NDArray[np.int64], sizes: NDArray[np.int64], keys: Words) -> NDArray[np.int64]:
    """For each item, the element at its position of the permutation of `range(size)` that its key names.

    Equivalent to `[shuffled(range(n), key)[at] for at, n, key in zip(positions, sizes, keys)]`, in memory independent of
    the sizes, which are at most 2**62. Keys that are neighbours have nothing in common. Short ranges are
    sorted by a keyed hash; others go through the network of `permute` with the parameters of each item in arrays, and
    four more rounds: with eight, pairs of a dozen elements are visibly uneven, and with ten no longer.

    >>> threes = permute_each(np.arange(3), np.full(3, 3), np.full(3, 7, dtype=np.uint64))
    >>> sorted(threes.tolist())
    [0, 1, 2]
    """
    out = np.empty(len(positions), dtype=np.int64)
    for start in range(0, len(positions), _PIECE):
        piece = slice(start, start + _PIECE)
        out[piece] = _permuted(positions[piece], sizes[piece], keys[piece])
    return out


def _permuted(positions: NDArray[np.int64], sizes: NDArray[np.int64], keys: Words) -> NDArray[np.int64]:
    (few,) = np.nonzero(sizes <= _HANDFUL)
    if len(few) == len(sizes):
        return _sorted(positions, sizes, keys)
    out = _walk(positions, np.maximum(sizes, _HANDFUL + 1), keys) if len(few) else _walk(positions, sizes, keys)
    out[few] = _sorted(positions[few], sizes[few], keys[few])
    return out


def _sorted(positions: NDArray[np.int64], sizes: NDArray[np.int64], keys: Words) -> NDArray[np.int64]:
    """The place of each position in a sorted row of hashes, as many as its size."""
    elements = np.arange(_HANDFUL)
    hashes = (_mixed(_mixed(keys[:, None]) + elements.astype(np.uint64)) >> _WORD).astype(np.int64)
    hashes[elements >= sizes[:, None]] = 2**32  # after all others
    order = np.argsort(hashes, axis=1, kind="stable")
    return order[np.arange(len(order)), positions]


def _walk(positions: NDArray[np.int64], sizes: NDArray[np.int64], keys: Words) -> NDArray[np.int64]:
    """The cipher of each position, applied again until it is below the size."""
    limits = sizes.astype(np.uint64)
    lows = (np.frexp(sizes.astype(np.float64))[1] // 2).astype(np.uint64)  # about half of the bits
    counts = (limits + (_ONE << lows) - _ONE) >> lows
    out = _feistel(positions.astype(np.uint64), lows, counts, keys)
    (outside,) = np.nonzero(out >= limits)
    while len(outside):
        walked = _feistel(out[outside], lows[outside], counts[outside], keys[outside])
        out[outside] = walked
        outside = outside[walked >= limits[outside]]
    return out.astype(np.int64)


def _feistel(places: Words, lows: Words, counts: Words, keys: Words) -> Words:
    """The rounds of the cipher of `permute`: in turn a hash of one half changes the other.

    A place is `left * 2**low + right`. To the left one it is added modulo the count, to the right one it is xored.
    """
    left, right = places >> lows, places & ((_ONE << lows) - _ONE)
    highs = np.uint64(64) - lows
    keys_of_rounds = _mixed(_mixed(keys + _ROUNDS[:, None]))
    for to_left, to_right in zip(keys_of_rounds[::2], keys_of_rounds[1::2], strict=True):
        added = _mixed(right + to_left)
        added >>= _WORD
        added *= counts
        added >>= _WORD
        left += added
        left = np.minimum(left, left - counts)  # what would be below 0 has wrapped to far above the count
        mixed = _mixed(left + to_right)
        mixed >>= highs
        right ^= mixed
    left <<= lows
    left |= right
    return left


def hashed(numbers: NDArray[np.int64], key: int) -> Words:
    """A hash of each number under a key, a word whose upper half is the better one, in a third of `random_bits`' time."""
    return _mixed(_mixed(numbers.astype(np.uint64) + np.uint64(key)))


def _mixed(words: Words) -> Words:
    """A hash of each word."""
    words = words * _FACTOR
    words ^= words >> _WORD
    words *= _MULTIPLIER
    return words


_HANDFUL = 16
_PIECE = 8192  # items worked on at once, whose words fit into a core's cache
_ONE, _WORD = np.uint64(1), np.uint64(32)
_FACTOR, _MULTIPLIER = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
# Multiples of the golden ratio are far apart.
_ROUNDS = np.arange(1, 13, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
