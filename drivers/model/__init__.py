"""What models of devices share: the memory they reach (``dma``), faults (``faults``), and the building of C."""
