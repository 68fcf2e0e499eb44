"""What must be true of the spooler's queue whenever anybody looks at it."""

from aerostat import invariant


def jobs_in(queue):
    """The jobs from the queue's head on."""
    job = queue.head
    while job:
        yield job
        job = job.next


@invariant
def count_is_right(m):
    """The queue's count is the number of jobs in it."""
    queue = m.program.queue
    return queue.count == sum(1 for _ in jobs_in(queue))


@invariant
def tail_is_last(m):
    """The tail is the last job that is reached from the head, and NULL if there is none."""
    queue = m.program.queue
    last = 0
    for job in jobs_in(queue):
        last = job
    return queue.tail == last
