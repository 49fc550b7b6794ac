"""Configs of Keras 3: its names of arguments, its masks as layers, its own `hard_sigmoid`."""

from gpunet import ops, registry

__all__ = ["rename", "plain_calls", "hard_sigmoid_of_keras3"]

_ARGUMENTS = {"LeakyReLU": {"negative_slope": "alpha"}}

_FORMAT = {"data_format": "channels_last"}
# Class -> arguments that gpunet lacks, with the values that mean what it does.
_NEUTRAL = {
    "BatchNormalization": {
        "synchronized": False,
        "renorm": False,
        "renorm_clipping": None,
        "renorm_momentum": 0.99,
    },
    "LayerNormalization": {"rms_scaling": False},
    "MultiHeadAttention": {"use_gate": False, "sliding_window": None, "flash_attention": None},
    "Resizing": {
        **_FORMAT,
        "fill_mode": "constant",
        "fill_value": 0.0,
        "pad_to_aspect_ratio": False,
        "antialias": False,
    },
    "RandomContrast": {**_FORMAT, "value_range": [0, 255]},
    **dict.fromkeys(
        ("ZeroPadding1D", "Cropping1D", "UpSampling1D", "CenterCrop", "RandomCrop", "RandomFlip",
         "RandomRotation", "RandomZoom", "RandomTranslation", "RandomBrightness",
         "CategoryEncoding", "Discretization", "Rescaling"),
        _FORMAT,
    ),
}  # fmt: skip


@registry.activations.register()
def hard_sigmoid_of_keras3(x):
    """Return ``relu6(x + 3) / 6``, which Keras 3 calls hard_sigmoid; its slope is 1/6, not 0.2."""
    return ops.clip(x + 3.0, 0.0, 6.0) * (1.0 / 6.0)


def rename(name, config, keras3):
    """Return the config of a layer as Keras 2 writes it.

    Args:
        name: str, the class.
        config: dict.
        keras3: bool, whether Keras 3 is known to have written it.
    """
    arguments, neutral = _ARGUMENTS.get(name, {}), _NEUTRAL.get(name, {})
    found = {}
    for key, value in config.items():
        if key in neutral and value == neutral[key]:
            continue
        if keras3 and value == "hard_sigmoid" and key.endswith("activation"):
            value = hard_sigmoid_of_keras3.__name__
        found[arguments.get(key, key)] = value
    return found


# -- masks ------------------------------------------------------------------------------------

_MASKING = ("NotEqual", "Any", "LogicalAnd", "LogicalOr")


def plain_calls(config):
    """Return the config of a graph without the ops that compute masks.

    Keras 3 writes masks as tensors of the graph; here layers hand them on by themselves. It also
    writes ``training`` into calls, as layers' defaults have it, though each run says it anew.
    """
    layers = config.get("layers")
    if not isinstance(layers, list):
        return config
    ops_of_masks = {
        entry.get("name")
        for entry in layers
        if isinstance(entry, dict) and entry.get("class_name") in _MASKING
    }
    kept = [_plain(e, ops_of_masks) for e in layers]
    used = set()
    _sources([e for e in kept if not _named(e, ops_of_masks)], used)
    _sources([config.get("output_layers")], used)
    return {**config, "layers": [e for e in kept if not _named(e, ops_of_masks - used)]}


def _named(entry, names):
    return isinstance(entry, dict) and entry.get("name") in names


def _plain(entry, ops_of_masks):
    calls = entry.get("inbound_nodes") if isinstance(entry, dict) else None
    if not isinstance(calls, list):
        return entry
    return {**entry, "inbound_nodes": [_plain_call(call, ops_of_masks) for call in calls]}


def _plain_call(call, ops_of_masks):
    if not (isinstance(call, dict) and isinstance(call.get("kwargs"), dict)):
        return call
    used = set()
    _sources(call["kwargs"].get("mask"), used)
    left = ("training", "mask") if used and used <= ops_of_masks else ("training",)
    return {**call, "kwargs": {k: v for k, v in call["kwargs"].items() if k not in left}}


def _sources(value, found):
    """Add to a set the names of the layers whose tensors a nest refers to."""
    if isinstance(value, dict):
        history = value.get("keras_history")
        if isinstance(history, list) and history:
            found.add(history[0])
        value = list(value.values())
    if isinstance(value, list):
        if len(value) == 3 and isinstance(value[0], str):
            found.add(value[0])
        for part in value:
            _sources(part, found)
