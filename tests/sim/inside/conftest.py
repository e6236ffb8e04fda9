"""Loads torch before the tests ask for the device's module, which torch itself has to load."""

import torch  # noqa: F401
