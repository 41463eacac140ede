"""Shares of a mixture as exact whole numbers."""

import math
from collections.abc import Mapping, Sequence
from decimal import Context, Decimal
from fractions import Fraction
from numbers import Rational
from typing import Any

import numpy as np

from .._errors import DataError, ParameterError, PipelineError, listed
from .._stages.rounding import as_written, largest_remainder


MOST = 2**30  # the largest sum of exact shares: what mixtures compute with them stays below 2**62


def exact_shares(shares: Mapping[str, float | Fraction]) -> dict[str, int]:
    """Shares as whole numbers in lowest terms, by name in the order of the names.

    Floats count as they are written. The sum is at most 2**30; shares that need more are rounded by largest remainder,
    by less than one in 2**30 of the whole. Neither the order of the mapping nor a factor of all shares matters.

    Raises:
        PipelineError: There are no shares, or one is not a number above 0, or so small that it would be rounded away.

    >>> exact_shares({"web": 0.7, "code": 0.3})
    {'code': 3, 'web': 7}
    """
    if not shares:
        msg = "mix: no shares are given; give the share of each part, such as {'web': 0.7, 'code': 0.3}"
        raise PipelineError(msg)
    amounts = {name: _amount(name, shares[name]) for name in sorted(shares)}
    whole = sum(amounts.values(), Fraction())
    weights = _whole_numbers([amount / whole for amount in amounts.values()])
    lost = [name for name, weight in zip(amounts, weights, strict=True) if not weight]
    if lost:
        msg = f"mix: the share of {listed(lost)} is less than one in 2**30 of the whole; give a larger share, or leave it out"
        raise PipelineError(msg)
    return dict(zip(amounts, weights, strict=True))


def power_shares(sizes: Mapping[str, int], power: float) -> dict[str, int]:
    """Exact shares in proportion to `size ** power`: 1 as the sizes are, 0 the same for all, between them a temperature.

    The powers are decimal numbers of 40 digits, which are the same on every machine.

    >>> power_shares({"web": 900, "code": 100}, 0.5)
    {'code': 1, 'web': 3}
    """
    if isinstance(power, bool) or not isinstance(power, int | float) or not -10 <= power <= 10:
        msg = f"mix: power is a number from -10 to 10, such as 0.5, not {power!r}"
        raise ParameterError(msg)
    check_sizes(sizes)
    context, exponent = Context(prec=40), Decimal(repr(float(power)))
    return exact_shares({name: Fraction(context.power(Decimal(size), exponent)) for name, size in sizes.items()})


def _amount(name: str, share: Any) -> Fraction:
    """A share as the fraction that was meant."""
    if isinstance(share, bool) or not isinstance(share, Rational | float | np.floating):
        msg = f"mix: the share of {name!r} is a number above 0, not {share!r}"
        raise ParameterError(msg)
    if not 0 < share < math.inf:  # type: ignore[operator]
        msg = f"mix: the share of {name!r} is a number above 0, not {share!r}; to leave a part out, do not name it"
        raise PipelineError(msg)
    if isinstance(share, Rational):
        return Fraction(int(share.numerator), int(share.denominator))
    return as_written(share) if isinstance(share, float) else Fraction(str(share))


def _whole_numbers(parts: Sequence[Fraction]) -> list[int]:
    """Fractions that sum to 1, as whole numbers in the same proportions whose sum is at most MOST."""
    exact = _lowest_terms(parts)
    if sum(exact) <= MOST:
        return exact
    # What floats made of simple fractions is as far off as they round: 0.3 * 3 and 0.7 * 3 are 3 to 7 still.
    simple = [part.limit_denominator(10**6) for part in parts]
    if sum(simple) == 1 and all(abs(near - part) * 2**50 <= part for near, part in zip(simple, parts, strict=True)):
        exact = _lowest_terms(simple)
        if sum(exact) <= MOST:
            return exact
    return _lowest_terms([Fraction(count, MOST) for count in largest_remainder([part * MOST for part in parts], MOST)])


def _lowest_terms(parts: Sequence[Fraction]) -> list[int]:
    whole = math.lcm(*(part.denominator for part in parts))
    return [int(part * whole) for part in parts]


def check_sizes(sizes: Mapping[str, int]) -> None:
    """Raise `DataError` if a part has no examples."""
    empty = [name for name, size in sizes.items() if size < 1]
    if empty:
        msg = f"mix: {listed(empty)} has no examples to draw; leave it out of the shares"
        raise DataError(msg)
