"""A model's files as they lie on disk: headers, tensors, configs; and what decoders share."""
