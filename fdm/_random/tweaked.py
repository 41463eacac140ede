"""Families of keyed permutations: one for each number, any elements of any of them at once."""

import hashlib
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from .permutation import random_bits


_ROUNDS = 8  # as in `permute`: four are visibly correlated at some lengths
_PIECE = 16_384  # positions worked on at once, whose words fit into a core's cache
_SORTED_BELOW = 129  # on 64 elements pairs are visibly not uniform, on more they are; sorting so few costs little


def permute_tweaked(positions: NDArray[np.int64], n: int, key: int, tweaks: NDArray[np.int64]) -> NDArray[np.int64]:
    """The elements at `positions` of permutations of `range(n)`: each of the one that `key` and its own tweak name.

    Equivalent to `permute(position, n, derive(key, tweak))` for each position and its tweak, with another cipher: what
    depends on the key is set up once, and what depends on the tweak is two words that its rounds add ("tweakable block
    ciphers", Liskov, Rivest and Wagner, 2002). Tweaks are numbers of at least 0, such as those of blocks or pools, and
    tweak * n is below 2**63.

    >>> tweaks = np.repeat([3, 8], 4)
    >>> permute_tweaked(np.tile(np.arange(4), 2), 4, key=7, tweaks=tweaks).reshape(2, 4).tolist()
    [[3, 0, 2, 1], [2, 0, 1, 3]]
    """
    if not len(positions):
        return positions
    if n < _SORTED_BELOW:
        pieces = range(0, len(positions), _PIECE)
        return np.concatenate([_sorted(positions[at : at + _PIECE], n, key, tweaks[at : at + _PIECE]) for at in pieces])
    values, row = _distinct(tweaks)
    return _walk(positions, row, _family(values, n, key))


def _sorted(positions: NDArray[np.int64], n: int, key: int, tweaks: NDArray[np.int64]) -> NDArray[np.int64]:
    """The elements of permutations of a short range, each in the order of random bits, and made whole."""
    values, row = _distinct(tweaks)
    places = np.arange(n, dtype=np.int64)
    bits = random_bits((values[:, None] * n + places).ravel(), key).reshape(-1, n)
    packed = (bits & ~np.uint64(127)) | places.astype(np.uint64)  # numpy sorts words faster than it tells their order
    packed.sort(axis=1)
    return (packed[row, positions] & np.uint64(127)).astype(np.int64)


def _distinct(tweaks: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers among which are all tweaks, and which of them each is: those between the first and the last, if few."""
    low, high = int(tweaks.min()), int(tweaks.max())
    if high - low < len(tweaks):
        return np.arange(low, high + 1), tweaks - low
    values, row = np.unique(tweaks, return_inverse=True)
    return values, row.astype(np.int64)


@attrs.frozen(eq=False)
class _Family:
    """Permutations of `range(count * 2**low)`, which is hardly larger than `range(n)`, a row of words for each tweak."""

    n: int
    low: NDArray[Any]
    mask: NDArray[Any]
    count: NDArray[Any]
    high: NDArray[Any]
    half: NDArray[Any]
    odd: NDArray[Any]
    factors: list[NDArray[Any]]
    first: NDArray[Any]
    step: NDArray[Any]


def _family(tweaks: NDArray[np.int64], n: int, key: int) -> _Family:
    word = np.dtype(np.uint32 if n < 2**32 else np.uint64)
    width, low = 8 * word.itemsize, (n - 1).bit_length() // 2

    def constant(number: int) -> NDArray[Any]:
        return np.array(number, dtype=word)

    words = random_bits(np.concatenate([tweaks, ~tweaks]), key).astype(word)
    raw = hashlib.shake_256(f"{key}:{n}".encode()).digest(8 * _ROUNDS)
    return _Family(
        n=n,
        low=constant(low),
        mask=constant(2**low - 1),
        count=constant(-(-n // 2**low)),
        high=constant(width - low),
        half=constant(width // 2),
        odd=constant(_ODD[width]),
        factors=list((np.frombuffer(raw, dtype="<u8").astype(word) | word.type(1)).reshape(_ROUNDS, 1)),
        first=words[: len(tweaks)],
        step=words[len(tweaks) :],
    )


def _walk(positions: NDArray[np.int64], row: NDArray[np.int64], family: _Family) -> NDArray[np.int64]:
    """The cipher of each position under the tweak of its row, applied again until it is below n."""
    out = _enciphered(positions, row, family)
    (outside,) = np.nonzero(out >= family.n)
    while len(outside):
        walked = _enciphered(out[outside], row[outside], family)
        out[outside] = walked
        outside = outside[walked >= family.n]
    return out


def _enciphered(positions: NDArray[np.int64], row: NDArray[np.int64], family: _Family) -> NDArray[np.int64]:
    """The cipher of each position, in pieces that work in the same memory, small enough for a core's cache."""
    out = np.empty(len(positions), dtype=np.int64)
    space = np.empty((6, min(len(positions), _PIECE)), dtype=family.low.dtype)
    for start in range(0, len(positions), _PIECE):
        piece = slice(start, start + _PIECE)
        words = space[:, : len(positions[piece])]
        family.first.take(row[piece], out=words[4], mode="clip")
        family.step.take(row[piece], out=words[5], mode="clip")
        _feistel(positions[piece], family, words, out[piece])
    return out


def _feistel(positions: NDArray[np.int64], family: _Family, words: NDArray[Any], out: NDArray[np.int64]) -> None:
    """The rounds of the cipher, in the memory of `words`, into `out`.

    A position is `left * 2**low + right`. In turn, a hash of the right half is added to the left modulo `count`, and a
    hash of the left half is xored to the right; the tweak's word is added to what is hashed, and stepped.
    """
    left, right, mixed, scratch, tweak, step = words
    np.copyto(left, positions, casting="unsafe")
    np.bitwise_and(left, family.mask, out=right)
    np.right_shift(left, family.low, out=left)
    for to_left, to_right in zip(family.factors[::2], family.factors[1::2], strict=True):
        _mix(right, to_left, family, words)
        np.floor_divide(mixed, family.count, out=scratch)
        np.multiply(scratch, family.count, out=scratch)
        np.subtract(mixed, scratch, out=mixed)
        np.add(left, mixed, out=left)
        np.subtract(left, family.count, out=mixed)
        np.minimum(left, mixed, out=left)  # what would be below 0 has wrapped to far above count
        np.add(tweak, step, out=tweak)
        _mix(left, to_right, family, words)
        np.right_shift(mixed, family.high, out=mixed)
        np.bitwise_xor(right, mixed, out=right)
        np.add(tweak, step, out=tweak)
    np.left_shift(left, family.low, out=left)
    np.bitwise_or(left, right, out=left)
    np.copyto(out, left, casting="unsafe")


def _mix(x: NDArray[Any], factor: NDArray[Any], family: _Family, words: NDArray[Any]) -> None:
    """A hash of each x under its tweak's word and a factor, into `mixed`."""
    _, _, mixed, scratch, tweak, _ = words
    np.add(x, tweak, out=mixed)
    np.multiply(mixed, factor, out=mixed)
    np.right_shift(mixed, family.half, out=scratch)
    np.bitwise_xor(mixed, scratch, out=mixed)
    np.multiply(mixed, family.odd, out=mixed)


_ODD = {32: 0x9E3779B1, 64: 0xD6E8FEB86659FD93}
