"""llama.cpp's own kernels on GGUF files, by the low-level calls of llama-cpp-python.

`plug` is what the registry names: it finds the file, chooses settings, and starts the child.
`model` runs in the child, over `context`, the only module that calls the library.
"""
