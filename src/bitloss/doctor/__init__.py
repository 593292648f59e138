"""Whether this machine and installation can do what bitloss asks of them."""
