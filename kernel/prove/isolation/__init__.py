"""Noninterference: what container A does, container B does not notice; between the two there is only the mediator V.

A and B are any two containers at one depth of the tree, with all below them.  Proved, for every state in which the
invariants hold and A and B are isolated, and all arguments (by symmetry also with A and B exchanged):

- *Isolation* (``statements``): a step of A keeps A and B isolated.  No page is mapped by, or reached by devices of, a
  process of each; no endpoint is named by, paged by, waited at or signalled from both; nothing charged to one is
  reached from the other; who waits at an endpoint of a side, and is of neither, gives and takes words alone.  This is
  said by a *side* for each page and endpoint, which exists if and only if nothing is reached from both: one statement
  about one handle, instead of one about any two.  That the paper's memory and endpoint isolation follow, and that a
  thread of A meets nobody of B, is in ``consequences``.
- *Local respect* (``observation``, ``locality``): a step of A changes nothing that B observes: the fields of the
  objects of its subtree, and of the endpoints and pages that belong to it.
- *Output consistency*: a transition is a function of state and arguments (there is nothing else that it is given), so
  that the same state gives the same result.
- *Weak step consistency* (``consistency``), by evaluating a step in two states that look alike to A: the result is the
  same (whatever pages are allocated in either), and the states look alike again.
- *The mediator* (``mediator``): V's steps, as its automaton allows them, keep A and B isolated, and V a thread that
  gives and takes words alone.

The steps are all transitions (``actors``): those that calls of A's threads consist of, and those that follow from what
A did or are done to what is A's (scheduling a thread of A, a fault, the steps of ending, a message cancelled, an
interrupt of its device, a thread, process or endpoint the host adds to it).

What is assumed, and why, is in ``kernel.prove.trusted``; of what weak step consistency is not claimed,
``obligations.LEAKS`` and ``obligations.UNOBSERVED``.
"""
