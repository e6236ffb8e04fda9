"""Tests of dynact, file for file."""

import os

from hypothesis import settings

# How long an example takes is the machine's business: nothing here asserts real time. New examples
# are looked for at home; what blocks a change must not depend on the day's draw.
settings.register_profile("dynact", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("dynact")
