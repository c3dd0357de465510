"""The limits of pytest-timeouts, which ESPnet's CI uses, by means of pytest-timeout.

    pytest -p execution_timeout --execution-timeout 10.0 --timeouts-order moi

Both packages cannot be installed side by side: each stops the timer of the other.
"""

import pytest


def pytest_addoption(parser):
    """Add the options that ESPnet's CI gives."""
    group = parser.getgroup("timeouts")
    group.addoption("--execution-timeout", type=float, default=0.0, metavar="SECONDS")
    group.addoption("--timeouts-order", choices=["moi"], default="moi")


def pytest_collection_modifyitems(config, items):
    """Limit the tests, without their fixtures, to what marks or the option say."""
    for item in items:
        mark = item.get_closest_marker("execution_timeout")
        seconds = mark.args[0] if mark else config.getoption("--execution-timeout")
        item.add_marker(pytest.mark.timeout(seconds, func_only=True), append=False)
