"""The architectures of GGUF files, as data: which tensors make up which parameter."""
