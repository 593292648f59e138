"""The base class of models that have a tokenizer."""


class CacheHook:
    def __init__(self):
        self.kept = []

    def add_partial(self, attribute, request, answer):
        self.kept.append((attribute, request, answer))


class TemplateLM:
    tokenizer = None

    def __init__(self):
        self.cache_hook = CacheHook()

    def _encode_pair(self, context, continuation):
        blanks = len(context) - len(context.rstrip())
        if blanks:
            continuation = context[-blanks:] + continuation
            context = context[:-blanks]
        before = self.tok_encode(context)
        return before, self.tok_encode(context + continuation)[len(before) :]

    def loglikelihood(self, requests, disable_tqdm=False):
        encoded = []
        for request in requests:
            context, continuation = request.args
            if context:
                ids = self._encode_pair(context, continuation)
            else:
                own = self.tok_encode(continuation, add_special_tokens=False)
                ids = [self.prefix_token_id], own
            encoded.append((request.args, *ids))
        return self._loglikelihood_tokens(encoded)
