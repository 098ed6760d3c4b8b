"""Which tests of the contract of methods are left to the full set."""

import pytest

DEVICE_TEST = "test_a_device_gives_the_bytes_of_the_cpu"
QUICK = ("TestMtt", "TestRandom")
"""Methods with which it is quick."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the emulated device as slow: every operator goes through Python on it."""
    for item in items:
        tested = getattr(item, "cls", None)  # None for the functions of other modules
        of_contract = tested is not None and getattr(item, "originalname", "") == DEVICE_TEST
        if of_contract and tested.__name__ not in QUICK:
            item.add_marker(pytest.mark.slow)
