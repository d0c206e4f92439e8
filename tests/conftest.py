"""The same examples on every run, so that a failure repeats; no deadline, load is no failure."""

from hypothesis import settings

settings.register_profile(
    "ci", deadline=None, derandomize=True, max_examples=100, database=None, print_blob=True
)
settings.load_profile("ci")
