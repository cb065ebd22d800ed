"""Settings of all tests."""

import os

from hypothesis import settings

# The same designs in every run; HYPOTHESIS_PROFILE=search draws new ones.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))
