"""The one place that states the version of both distributions."""

__version__ = "1.2.0"
