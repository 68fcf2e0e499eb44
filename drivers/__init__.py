"""Drivers, one folder a device: the driver, its software model, its VFIO binding.  None yet."""
