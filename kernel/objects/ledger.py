"""The counts and sums over all objects that invariants speak of."""

from __future__ import annotations

from kernel.storage import Row


class Ledger:
    """Counts and sums over all objects, kept beside the state for the invariants to speak of (kernel.ledgers)."""

    __slots__ = ("owned", "owned_blocks", "owned_giants", "in_use", "blocks_in_use", "mappings", "used", "mapped",
                 "handles", "regions", "reachable", "namings", "senders", "receivers", "free_pages", "free_blocks",
                 "promised_pages", "promised_blocks", "promised_giants")  # fmt: skip

    def __init__(self) -> None:
        self.owned: Row = Row()
        """container -> pages (and whole blocks and giants, by their first page) whose owner it is"""
        self.owned_blocks: Row = Row()
        """container -> whole blocks (and giants, by their first block) whose owner it is"""
        self.owned_giants: Row = Row()
        """container -> whole giants whose owner it is"""
        self.in_use: Row = Row()
        """block -> pages carved from it that are not free"""
        self.blocks_in_use: Row = Row()
        """giant -> blocks carved from it that are not free"""
        self.mappings: Row = Row()
        """page -> (process, virtual page) pairs mapped to it"""
        self.used: Row = Row()
        """table -> entries that are not empty"""
        self.mapped: Row = Row()
        """process -> virtual pages mapped"""
        self.handles: Row = Row()
        """process -> handles open"""
        self.regions: Row = Row()
        """domain and region (Domain.regions), as one number -> what is mapped there"""
        self.reachable: Row = Row()
        """domain -> I/O virtual pages mapped"""
        self.namings: Row = Row()
        """endpoint -> handles to it and processes whose pager it is"""
        self.senders: Row = Row()
        """endpoint -> those of them that can send"""
        self.receivers: Row = Row()
        """endpoint -> those of them that can receive"""
        self.free_pages: int = 0
        self.free_blocks: int = 0
        """Of split giants, as if each had 512 blocks."""
        self.promised_pages: int = 0
        self.promised_blocks: int = 0
        self.promised_giants: int = 0
