"""Suites that are not everywhere."""

import importlib.util

import pytest

needs_dmc = pytest.mark.skipif(
    not importlib.util.find_spec('dm_control'),
    reason='dm-control is not installed; its labmaze has no wheel for Python 3.13')
