"""The vLLM engine: models run offline by vLLM, in a process of its own.

plug      what the registry holds, and what of the parent's there is
worker    the child's side: vLLM's own classes, loaded there alone

Written to the interface of vLLM 0.33 (``LLM``, ``SamplingParams``, ``TokensPrompt``), of which only
the named arguments and attributes in `worker` are used.
"""
