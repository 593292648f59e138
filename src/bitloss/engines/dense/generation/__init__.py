"""Text, many sequences side by side.

generate   the loop
prefixes   what prompts share
kv_rows    keys and values, one row per sequence
step       what the tokens of a forward attend to
sampling   the next token
"""
