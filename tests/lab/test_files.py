"""What is named for the lab exists, and no test of the hypervisor is forgotten there."""

from tests.lab.files import BATCHES
from tests.lab.image import REPOSITORY

NAMED = {name for batch in BATCHES.values() for name in batch.files}


def test_named_files_exist() -> None:
    assert [name for name in sorted(NAMED) if not (REPOSITORY / name).is_file()] == []


def test_every_hypervisor_test_file_is_named_for_the_lab() -> None:
    present = {str(path.relative_to(REPOSITORY)) for path in REPOSITORY.glob("tests/hv/test_*.py")}
    assert present <= NAMED, "add these to BATCHES in tests/lab/files.py"
