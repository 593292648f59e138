"""How texts longer than a model's context are cut, as the harness documents it."""


def get_rolling_token_windows(token_list, prefix_token, max_seq_len, context_len):
    assert context_len == 1
    for at in range(0, len(token_list), max_seq_len):
        own = token_list[at : at + max_seq_len]
        everything = [prefix_token, *token_list]
        stop = at + len(own)
        begin = max(0, stop - max_seq_len)
        yield everything[begin:stop], own


def make_disjoint_window(pair):
    before, own = pair
    return before[: len(before) - (len(own) - 1)], own
