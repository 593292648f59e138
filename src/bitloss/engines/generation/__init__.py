"""What every engine that writes text does alike.

stopping   when a text ends
sampling   the next token, drawn from logits
texts      one request's text as it grows
"""
