"""The vocabulary in a GGUF file, and the tokenizer that llama.cpp makes of it."""
