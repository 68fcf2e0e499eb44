"""What must be true of `lazy use` (lazy.c), named in lazy.toml."""

from aerostat import invariant


@invariant
def sum_is_of_squares(m):
    """The sum is that of the squares of the pages' numbers, of as many as were read."""
    n, total = m.program.pages_read, m.program.sum
    # A time slice can end between the two: the last page may have been added and not counted.
    return total in (sum(i * i for i in range(n)), sum(i * i for i in range(n + 1)))
