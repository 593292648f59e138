"""Models behind an OpenAI-compatible server.

address  where the server is, and which of its models is meant
client   requests: bounded concurrency, retries, errors in a line
probe    what the server offers, and whether its log-probabilities are right
tokens   token ids to what the server takes, and back
scoring  log-probabilities of windows
writing  texts
plug     the engine
"""
