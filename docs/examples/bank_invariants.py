"""What must be true of the bank whenever nobody is at its books."""

from aerostat import invariant


def at_the_books(m):
    """Somebody holds the lock: the accounts are being changed."""
    return m.program.bank.lock.held != 0


@invariant(unless=at_the_books)
def no_money_is_lost(m):
    """The accounts hold 1000 together."""
    return sum(m.program.bank.accounts) == 1000
