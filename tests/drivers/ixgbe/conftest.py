"""A card in each mode: all trapped, ring pages polled, all registers memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from drivers.ixgbe.model import Mode
from tests.drivers.ixgbe.card import Card


@pytest.fixture(params=list(Mode), ids=lambda mode: mode.value)
def make(request: pytest.FixtureRequest) -> Iterator[Callable[..., Card]]:
    """Makes cards with options of the model."""
    cards: list[Card] = []

    def one(**options: Any) -> Card:
        cards.append(Card(request.param, **options))
        return cards[-1]

    yield one
    for card in cards: card.close()


@pytest.fixture
def card(make: Callable[..., Card]) -> Card:
    """A card whose MAC and link are up."""
    found = make()
    found.up()
    return found


@pytest.fixture
def trapped() -> Iterator[Card]:
    """A card of which every access is seen: for what only then holds."""
    found = Card(Mode.TRAPPED)
    yield found
    found.close()
