"""Where models are registered."""

MODELS = {}


def register_model(*names):
    def register(model):
        MODELS.update(dict.fromkeys(names, model))
        return model

    return register
