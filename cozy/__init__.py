"""Cozy: a chat engine whose personalities are pipelines written in YAML."""

__version__ = "0.1.0"
