"""The Intel 82599 10 GbE controller: its model (``model.py``, ``engine.c``) and its driver (``driver.c``)."""
