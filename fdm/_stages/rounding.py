"""Rounding that keeps sums: shares of a whole, one by one or as a table of classes by splits."""

from collections.abc import Sequence
from fractions import Fraction
from math import floor


SLACK = Fraction(1, 10**9)  # how far fractions that are meant to sum to 1 may be off: 1/3 as a float is not quite 1/3


def as_written(number: float) -> Fraction:
    """The decimal fraction that a float was written as: 0.29 is 29/100, not the nearest binary number.

    >>> as_written(0.29) * 100
    Fraction(29, 1)
    """
    return Fraction(repr(float(number)))


def largest_remainder(shares: Sequence[Fraction], total: int) -> list[int]:
    """Whole numbers that sum to `total`, each within one of its share; the largest remainders are rounded up.

    The shares sum to `total`, to within less than one half. Earlier shares win ties (Hamilton's method).

    >>> largest_remainder([Fraction(5, 2), Fraction(5, 2), Fraction(2)], 7)
    [3, 2, 2]
    """
    rounded = [floor(share) for share in shares]
    by_remainder = sorted(range(len(shares)), key=lambda i: rounded[i] - shares[i])
    for i in by_remainder[: total - sum(rounded)]:
        rounded[i] += 1
    return rounded


def proportional(rows: Sequence[int], columns: Sequence[int]) -> list[list[int]]:
    """A table of whole numbers with these row and column sums, each within one of its proportional share.

    `rows` are class sizes, `columns` split sizes, and both sum to the same n: cell (r, c) is `rows[r] * columns[c] / n`
    rounded down or up. Such a table always exists; it is reached by shifting fractions around cycles of cells that
    are not whole yet (controlled rounding; Cox, "A constructive procedure for unbiased controlled rounding", 1987).

    >>> proportional([3, 3], [4, 2])
    [[2, 1], [2, 1]]
    """
    n = sum(rows)
    cells = [[divmod(row * column, n) for column in columns] if n else [(0, 0)] * len(columns) for row in rows]
    whole = [[quotient for quotient, _ in row] for row in cells]
    parts = [{c: rest for c, (_, rest) in enumerate(row) if rest} for row in cells]  # in n-ths
    _shift_to_whole(parts, whole, n)
    return whole


def _shift_to_whole(parts: list[dict[int, int]], whole: list[list[int]], n: int) -> None:
    """Move n-ths around cycles until no cell has any; a cell that reaches n rounds up, one that reaches 0 down."""
    rows_of: dict[int, set[int]] = {}
    for r, row in enumerate(parts):
        for c in row:
            rows_of.setdefault(c, set()).add(r)
    for start, row in enumerate(parts):
        while row:
            cycle = _cycle(parts, rows_of, start)
            give, take = cycle[::2], cycle[1::2]
            step = min(*(parts[r][c] for r, c in give), *(n - parts[r][c] for r, c in take))
            for cells, sign in ((give, -step), (take, step)):
                for r, c in cells:
                    parts[r][c] += sign
                    if parts[r][c] in (0, n):
                        whole[r][c] += parts[r].pop(c) == n
                        rows_of[c].discard(r)


def _cycle(parts: list[dict[int, int]], rows_of: dict[int, set[int]], start: int) -> list[tuple[int, int]]:
    """Cells of a cycle that alternates between two of a row and two of a column; every line has two or none."""
    path: list[tuple[int, int]] = []
    rows: dict[int, int] = {}
    columns: dict[int, int] = {}
    row, came_by = start, -1
    while row not in rows:
        rows[row] = len(path)
        column = next(c for c in parts[row] if c != came_by)
        path.append((row, column))
        if column in columns:
            return path[columns[column] :]
        row = next(r for r in rows_of[column] if r != row)
        columns[column] = len(path)
        path.append((row, column))
        came_by = column
    return path[rows[row] :]
