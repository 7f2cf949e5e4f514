"""What tests of every kind may need."""

from __future__ import annotations

import signal

import pytest


@pytest.fixture
def interruptible():
    """Processes started meanwhile are; a CI job may have inherited that the signal is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
