"""The study of bits per weight: methods and widths against bits, expected losses and claims."""
