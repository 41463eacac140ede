"""Many keyed permutations at once: each position in a range of its own size, under a key of its own."""

import numpy as np
from numpy.typing import NDArray


Words = NDArray[np.uint64]


def permute_each(positions: NDArray[np.int64], sizes: NDArray[np.int64], keys: Words) -> NDArray[np.int64]:
    """For each item, the element at its position of the permutation of `range(size)` that its key names.

    Equivalent to `[shuffled(range(n), key)[at] for at, n, key in zip(positions, sizes, keys)]`, in memory independent of
    the sizes, which are at most 2**62. The keys are 64 random bits each. A handful is sorted by a keyed hash; larger
    ranges go through the network of `permute` with the parameters of each item in arrays, and twice its rounds: where
    elements are few, eight are visibly uneven.

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
    hashes = _mixed(elements.astype(np.uint64), keys[:, None], _ROUNDS[0]).astype(np.int64)
    hashes[elements >= sizes[:, None]] = 2**32  # after all others
    order = np.argsort(hashes, axis=1, kind="stable")
    return order[np.arange(len(order)), positions]


def _walk(positions: NDArray[np.int64], sizes: NDArray[np.int64], keys: Words) -> NDArray[np.int64]:
    """The cipher of each position, applied again until it is below the size."""
    limits = sizes.astype(np.uint64)
    lows = _bit_lengths(sizes - 1) // np.uint64(2)
    counts = (limits + (_ONE << lows) - _ONE) >> lows
    out = _feistel(positions.astype(np.uint64), lows, counts, keys)
    (outside,) = np.nonzero(out >= limits)
    while len(outside):
        walked = _feistel(out[outside], lows[outside], counts[outside], keys[outside])
        out[outside] = walked
        outside = outside[walked >= limits[outside]]
    return out.astype(np.int64)


def _bit_lengths(numbers: NDArray[np.int64]) -> Words:
    """Equivalent to `[int(number).bit_length() for number in numbers]`, for numbers that are not negative."""
    lengths = np.frexp(numbers.astype(np.float64))[1].astype(np.uint64)
    # Beyond 2**53 a float may be rounded up to the next power of two.
    return lengths - (numbers.astype(np.uint64) < (_ONE << np.maximum(lengths, _ONE) - _ONE)) * (lengths > 0)


def _feistel(places: Words, lows: Words, counts: Words, keys: Words) -> Words:
    """The rounds of the cipher: in turn a hash of the right half is added to the left one, modulo its count, and a hash
    of the left half is xored to the right one, which has `lows` bits.
    """
    left, right = places >> lows, places & ((_ONE << lows) - _ONE)
    highs = _WORD - lows
    for to_left, to_right in zip(_ROUNDS[::2], _ROUNDS[1::2], strict=True):
        left += _mixed(right, keys, to_left) * counts >> _WORD
        left = np.minimum(left, left - counts)  # what would be below 0 has wrapped to far above the count
        right ^= _mixed(left, keys, to_right) >> highs
    return (left << lows) | right


def _mixed(half: Words, keys: Words, constant: np.uint64) -> Words:
    """32 bits of a hash of each half under its key, for the round of this constant."""
    mixed = half * _FACTOR + keys
    mixed ^= constant
    for multiplier in _MULTIPLIERS:
        mixed ^= mixed >> _WORD
        mixed *= multiplier
    mixed >>= _WORD
    return mixed


_HANDFUL = 8
_PIECE = 8192  # items worked on at once, whose words fit into a core's cache
_ONE, _WORD = np.uint64(1), np.uint64(32)
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLIERS = np.uint64(0xD6E8FEB86659FD93), np.uint64(0xD6E8FEB86659FD93)
# The first 64 bits of the fractional parts of the square roots of the first 16 primes, which are nobody's choice.
_ROUNDS = [
    np.uint64(constant)
    for constant in (
        *(0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1),
        *(0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179),
        *(0xCBBB9D5DC1059ED8, 0x629A292A367CD507, 0x9159015A3070DD17, 0x152FECD8F70E5939),
        *(0x67332667FFC00B31, 0x8EB44A8768581511, 0xDB0C2E0D64F98FA7, 0x47B5481DBEFA4FA4),
    )
]
