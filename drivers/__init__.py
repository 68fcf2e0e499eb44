"""Drivers, one folder a device: the driver and its software model; and what they share (``lib``, ``model``)."""
