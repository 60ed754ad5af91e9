"""The one place that states the version of both distributions."""

__version__ = "1.1.0"
