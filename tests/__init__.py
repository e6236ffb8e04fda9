"""Tests of dynact, file for file."""

from hypothesis import settings

# How long an example takes is the machine's business: nothing here asserts real time.
settings.register_profile("dynact", deadline=None)
settings.load_profile("dynact")
