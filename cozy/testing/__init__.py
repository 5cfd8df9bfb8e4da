"""Pipeline fixtures: a personality, scripted surroundings and turns in a file, and what must come of them."""

FOLDER = "tests/pipelines"
"""Where a project keeps its fixtures."""
