"""The version, read by the build and by `bitloss --version`."""

__version__ = "0.1.0"
