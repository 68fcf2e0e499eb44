"""The interrupt of a device that has only a line (INTx): it is asserted until the driver has served the device.

The host masks the line each time it interrupts.  Here it is counted, and unmasked a moment later: by then the driver
has usually done what ends it, and if not it is told once more, so that no interrupt is lost.  So there are at most a
thousand a second.

Source: PCI Local Bus Specification 3.0, section 2.2.6; include/uapi/linux/vfio.h (VFIO_IRQ_INFO_AUTOMASKED).
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from typing import Final

PAUSE_MS: Final = 1
"""Milliseconds between an interrupt and the next."""


class InterruptLine:
    """Passes on what comes to ``trigger``, an eventfd for the host, to another; then calls ``unmask``, which must not
    raise."""

    def __init__(self, to: int, unmask: Callable[[], None]) -> None:
        self.trigger = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._to, self._unmask = to, unmask
        self._stop = os.eventfd(0, os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="aerostat-interrupt-line", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        either, stopped = select.poll(), select.poll()
        for fd in (self.trigger, self._stop): either.register(fd, select.POLLIN)
        stopped.register(self._stop, select.POLLIN)
        while self._stop not in {fd for fd, _ in either.poll()}:
            os.eventfd_read(self.trigger)
            os.eventfd_write(self._to, 1)
            if stopped.poll(PAUSE_MS): return
            self._unmask()

    def close(self) -> None:
        """Nothing is passed on any more, nor unmasked."""
        os.eventfd_write(self._stop, 1)
        self._thread.join()
        for fd in (self.trigger, self._stop): os.close(fd)


__all__ = ["InterruptLine"]
