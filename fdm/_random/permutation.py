"""Keyed permutations and random draws by position: any element of a shuffle, without the others."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray


_ROUNDS = 8  # four are visibly correlated at some lengths, six are not; eight take a third longer than they
_PIECE = 32_768  # positions worked on at once, whose words fit into a core's cache
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
    return _walk(positions, n, _cipher(key, n))


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


@attrs.frozen(eq=False)
class _Cipher:
    """A keyed permutation of `range(count * 2**low)`, which is hardly larger than the range it is for.

    Numbers are arrays without dimensions, in the width that the cipher computes in, which numpy takes in half the time
    of its scalars. `half` and `odd` are the shift and the factor of the hash, `high` keeps its upper `low` bits.
    """

    low: NDArray[Any]
    mask: NDArray[Any]
    count: NDArray[Any]
    high: NDArray[Any]
    half: NDArray[Any]
    odd: NDArray[Any]
    rounds: Sequence[tuple[NDArray[Any], NDArray[Any]]]


def _cipher(key: int, n: int) -> _Cipher:
    word = np.dtype(np.uint32 if n < 2**32 else np.uint64)  # 32 bits: half the memory traffic, and vector instructions
    width, low = 8 * word.itemsize, int(n - 1).bit_length() // 2

    def constant(number: int) -> NDArray[Any]:
        return np.array(number, dtype=word)

    return _Cipher(
        low=constant(low),
        mask=constant(2**low - 1),
        count=constant(-(-n // 2**low)),
        high=constant(width - low),
        half=constant(width // 2),
        odd=constant(_ODD[width]),
        rounds=_round_keys(key, n, word),
    )


def _round_keys(key: int, n: int, word: np.dtype[Any]) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """What each round adds, and what it multiplies by."""
    raw = hashlib.shake_256(f"{key}:{n}".encode()).digest(16 * _ROUNDS)
    keys = np.frombuffer(raw, dtype="<u8").astype(word).reshape(_ROUNDS, 2)
    keys[:, 1] |= word.type(1)  # an even multiplier would lose bits
    return [(keys[at, 0, ...], keys[at, 1, ...]) for at in range(_ROUNDS)]


def _walk(positions: NDArray[np.int64], n: int, cipher: _Cipher) -> NDArray[np.int64]:
    """The cipher of each position, applied again until it is below n."""
    out = _enciphered(positions, cipher)
    (outside,) = np.nonzero(out >= n)
    while len(outside):
        walked = _enciphered(out[outside], cipher)
        out[outside] = walked
        outside = outside[walked >= n]
    return out


def _enciphered(positions: NDArray[np.int64], cipher: _Cipher) -> NDArray[np.int64]:
    """The cipher of each position, in pieces that work in the same memory, small enough for a core's cache."""
    out = np.empty(len(positions), dtype=np.int64)
    space = np.empty((4, min(len(positions), _PIECE)), dtype=cipher.low.dtype)
    for start in range(0, len(positions), _PIECE):
        piece = slice(start, start + _PIECE)
        _feistel(positions[piece], cipher, space, out[piece])
    return out


def _feistel(positions: NDArray[np.int64], cipher: _Cipher, space: NDArray[Any], out: NDArray[np.int64]) -> None:
    """The rounds of the cipher, in the `space` that they need, into `out`.

    A position is `left * 2**low + right`. In turn, a hash of the right half is added to the left modulo `count`, and a
    hash of the left half is xored to the right.
    """
    left, right, mixed, scratch = space[:, : len(positions)]
    np.copyto(left, positions, casting="unsafe")
    np.bitwise_and(left, cipher.mask, out=right)
    np.right_shift(left, cipher.low, out=left)
    for to_left, to_right in zip(cipher.rounds[::2], cipher.rounds[1::2], strict=True):
        _mix(right, to_left, cipher, mixed, scratch)
        np.floor_divide(mixed, cipher.count, out=scratch)  # numpy divides by vector instructions, but has none for %
        np.multiply(scratch, cipher.count, out=scratch)
        np.subtract(mixed, scratch, out=mixed)
        np.add(left, mixed, out=left)
        np.subtract(left, cipher.count, out=mixed)
        np.minimum(left, mixed, out=left)  # what would be below 0 has wrapped to far above count
        _mix(left, to_right, cipher, mixed, scratch)
        np.right_shift(mixed, cipher.high, out=mixed)
        np.bitwise_xor(right, mixed, out=right)
    np.left_shift(left, cipher.low, out=left)
    np.bitwise_or(left, right, out=left)
    np.copyto(out, left, casting="unsafe")


def _mix(
    x: NDArray[Any], key: tuple[NDArray[Any], NDArray[Any]], cipher: _Cipher, mixed: NDArray[Any], scratch: NDArray[Any]
) -> None:
    """A hash of each x under a key, into `mixed`."""
    added, factor = key
    np.add(x, added, out=mixed)
    np.multiply(mixed, factor, out=mixed)
    np.right_shift(mixed, cipher.half, out=scratch)
    np.bitwise_xor(mixed, scratch, out=mixed)
    np.multiply(mixed, cipher.odd, out=mixed)


_ODD = {32: 0x9E3779B1, 64: 0xD6E8FEB86659FD93}
