"""Settings of the whole suite."""

import os
import signal

from hypothesis import HealthCheck, settings


# What a shell starts in the background ignores interrupts, and so would every process that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The machines are slow and noisy: no deadline, and the same examples on every run of CI.
settings.register_profile("dev", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("dev"), max_examples=100, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


def pytest_collection_modifyitems(items):
    """Tests with clusters come last: their servers leave threads behind, whose locks a forked process would copy."""
    items.sort(key=lambda item: "test_engines" in item.nodeid)
