"""Formats kept in a directory of safetensors files, one file each; see `bitloss.registry`."""
