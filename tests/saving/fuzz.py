"""Mutated model files, loaded one after the other in a process of its own.

    python fuzz.py FOLDER SEED FIRST COUNT

writes the numbers it comes to on standard output, one a line, and at last a JSON object with what
was found. A number and the seed give the same file again, so that a crash can be repeated:
``python fuzz.py FOLDER SEED NUMBER 1``. `test_fuzz.py` watches it.
"""

import json
import os
import random
import resource
import sys
import traceback
import warnings
from pathlib import Path

import h5py
import numpy as np

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "h5"
STORED = ("seed_twitter_dict", "k3_seed_mlp_functional", "fmt_k216_sequential_list",
          "rnn_gru_variants", "bad_lambda_bytecode")  # fmt: skip
CLEAN = (ValueError, OSError, TypeError)
NASTY = (
    None, True, -1, 0, 1, 2**31, 2**63, 10**30, 1e308, float("nan"), "", "x", "../../etc/passwd",
    "/etc/passwd", "http://localhost:1/x", "os.system", "lambda", "ü" * 40, [], {}, [[]], [None],
    {"class_name": "Lambda",
     "config": {"function": ["4wAA", None, None], "function_type": "lambda"}},
    {"class_name": "StringLookup", "config": {"vocabulary": "/etc/passwd"}},
    {"module": "os", "class_name": "function", "config": "system", "registered_name": "system"},
    {"class_name": "Dense", "config": {"units": 10**12}}, ["input_1", 0, 0, {}], ["a", 9, 9],
)  # fmt: skip


def written():
    """Return the bytes of files as gpunet writes them."""
    import io

    from gpunet import layers
    from gpunet.models import Model, Sequential

    x = layers.Input((6, 2))
    inner = Sequential([layers.Dense(3, input_shape=(4,)), layers.BatchNormalization()])
    y = inner(layers.LSTM(4)(x))
    nested = Model(x, layers.Concatenate()([y, layers.Flatten()(x)]))
    plain = Sequential(
        [
            layers.Conv2D(2, 3, input_shape=(6, 6, 1), kernel_regularizer="l2"),
            layers.Flatten(),
            layers.Dense(2, activation="softmax"),
        ]
    )
    texts = Sequential([layers.Embedding(7, 3, input_length=4), layers.GRU(2)])
    found = []
    for model in (nested, plain, texts):
        model.compile("adam", "mse", metrics=["mae"])
        shape = (2, *model.input_shape[1:])
        model.train_on_batch(np.ones(shape), np.ones((2, *model.output_shape[1:])))
        file = io.BytesIO()
        model.save(file)
        found.append(file.getvalue())
    return found


# -- mutations of bytes -------------------------------------------------------------------------


def flip(rng, data):
    """Flip a few bits, anywhere."""
    for _ in range(rng.choice((1, 1, 2, 8))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def flip_near_texts(rng, data):
    """Flip a bit in the headers and heaps around something that has a name."""
    word = rng.choice((b"GCOL", b"model_config", b"layer_names", b"weight_names", b"TREE", b"HEAP",
                       b"SNOD", b"keras_version", b"OHDR"))  # fmt: skip
    places, start = [], data.find(word)
    while start >= 0:
        places.append(start)
        start = data.find(word, start + 1)
    if places:
        near = rng.choice(places) + rng.randrange(-48, 96)
        data[max(0, min(len(data) - 1, near))] ^= 1 << rng.randrange(8)


def number(rng, data):
    """Put a number of 2 to 8 bytes where another may have been."""
    size = rng.choice((2, 4, 8))
    place = rng.randrange(0, len(data) - 8) // size * size
    value = rng.choice((0, 1, 255, 2**15, 2**31 - 1, 2**32, 2**63, 2**64 - 1, len(data),
                        rng.randrange(len(data))))  # fmt: skip
    data[place : place + size] = (value % 2 ** (8 * size)).to_bytes(size, "little")


def stretch(rng, data):
    """Overwrite a stretch with random bytes."""
    start = rng.randrange(len(data))
    stop = min(len(data), start + rng.randrange(1, 64))
    data[start:stop] = rng.randbytes(stop - start)


def splice(rng, data):
    """Copy a stretch to another place, shifting what follows or not."""
    size = rng.randrange(1, 600)
    a, b = rng.randrange(len(data)), rng.randrange(len(data))
    data[b : b + rng.choice((0, size))] = data[a : a + size]


def cut(rng, data):
    """Cut the end off."""
    del data[rng.randrange(len(data)) :]


BYTES = (flip, flip, flip_near_texts, flip_near_texts, number, number, stretch, splice, cut)

# -- mutations of what the bytes mean -----------------------------------------------------------


def config(rng, file):
    """Change values anywhere in the JSON."""
    name = rng.choice(("model_config", "model_config", "training_config"))
    text = file.attrs.get(name)
    if text is None:
        return
    text = text.decode() if isinstance(text, bytes) else text
    value = json.loads(text)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        _change(rng, value)
    text = json.dumps(value)
    if rng.random() < 0.1:
        place = rng.randrange(len(text))
        text = (
            text[:place] + rng.choice(("", "}", "[" * 2000, "\\ud800", "9" * 5000)) + text[place:]
        )
    file.attrs[name] = text


def _change(rng, value):
    """Go down at random and put something else there."""
    while True:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not keys:
            return
        key = rng.choice(keys)
        if isinstance(value[key], (dict, list)) and value[key] and rng.random() < 0.85:
            value = value[key]
            continue
        action = rng.random()
        if action < 0.15:
            del value[key]
        elif action < 0.25 and isinstance(value, dict):
            value[rng.choice(("surprise", "name", "units", "dtype", "class_name"))] = rng.choice(
                NASTY
            )
        else:
            value[key] = rng.choice(NASTY)
        return


def datasets(rng, file):
    """Put something else in the place of a dataset or group."""
    found = []
    file.visititems(lambda name, item: found.append(name))
    name = rng.choice(found)
    parent, _, last = name.rpartition("/")
    group = file[parent] if parent else file
    del group[last]
    kind = rng.randrange(9)
    if kind == 0:
        group.create_dataset(last, (1 << 20, 1 << 24), "f4", chunks=(1, 1 << 10))
    elif kind == 1:
        group.create_dataset(last, (4, 3), "f4", external=[("/etc/passwd", 0, 48)])
    elif kind == 2:
        layout = h5py.VirtualLayout((4, 3), "f4")
        layout[:] = h5py.VirtualSource("/etc/passwd", "x", (4, 3))
        group.create_virtual_dataset(last, layout)
    elif kind == 3:
        group[last] = h5py.SoftLink(rng.choice(("/", "/model_weights", "/none")))
    elif kind == 4:
        group[last] = h5py.ExternalLink("/etc/passwd", "/x")
    elif kind == 5:
        group.create_dataset(last, data=rng.choice(([b"a"], "text", 3, [1.5], [[1j]])))
    elif kind == 6:
        group[last] = np.zeros([rng.randrange(4) for _ in range(rng.randrange(5))], "f2")
    elif kind == 7:
        group[last] = file  # a group that holds itself


def attributes(rng, file):
    """Put something else in the place of an attribute."""
    owners = [file]
    file.visititems(lambda name, item: owners.append(item))
    owner = rng.choice([o for o in owners if len(o.attrs)] or [file])
    name = rng.choice(list(owner.attrs) or ["x"])
    values = (3, 2.5, "", "text", b"\xff", np.arange(3), ["a", "b"], np.zeros(0), [b"."],
              np.array(["../x", "/etc/passwd"], dtype=object), "ü" * 200, h5py.Empty("f4"),
              ["a" * 300] * 100)  # fmt: skip
    owner.attrs[name] = rng.choice(values)


MEANING = (config, config, config, datasets, attributes)


def mutated(rng, sources, path):
    """Write a mutated file."""
    data = bytearray(rng.choice(sources))
    if rng.random() < 0.6:
        for _ in range(rng.choice((1, 1, 1, 3))):
            if len(data) > 16:
                rng.choice(BYTES)(rng, data)
        path.write_bytes(data)
        return
    path.write_bytes(data)
    with h5py.File(path, "r+") as file:
        rng.choice(MEANING)(rng, file)


# -- loading ------------------------------------------------------------------------------------


class Watch:
    """Notes what Python opens, starts or imports beside the file that is loaded."""

    QUIET = ("open", "os.listdir", "os.scandir")
    LOUD = ("subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.",
            "shutil.", "os.remove", "os.rename", "os.mkdir", "urllib.", "marshal.loads",
            "pickle.", "ctypes.dlopen")  # fmt: skip

    def __init__(self, path):
        self.path, self.on, self.seen = str(path), False, []
        sys.addaudithook(self.event)

    def event(self, name, args):
        if not self.on:
            return
        quiet = name in self.QUIET and str(args[0]) != self.path
        if quiet or name.startswith(self.LOUD) or name == "import":
            self.seen.append(f"{name} {args!r:.200}")


def load(path, model):
    """Load a file in every way; return the names of what was raised that isn't clean."""
    from gpunet.models import load_model
    from gpunet.saving.describe import describe

    bad = []
    before = model.get_weights()
    for what in (
        lambda: load_model(path, max_bytes=1 << 28),
        lambda: model.load_weights(path, max_bytes=1 << 28),
        lambda: model.load_weights(path, by_name=True, max_bytes=1 << 28),
        lambda: describe(path, max_bytes=1 << 28),
    ):
        try:
            what()
        except CLEAN:
            pass
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            bad.append(f"{type(error).__name__}: {error!s:.300} ({frame.filename}:{frame.lineno})")
    after = model.get_weights()
    if [a.shape for a in after] != [b.shape for b in before]:
        bad.append("a model's weights changed their shapes")
    return bad


def main(folder, seed, first, count):
    warnings.simplefilter("ignore")
    sources = written() + [(FIXTURES / f"{name}.h5").read_bytes() for name in STORED]
    path = Path(folder) / "m.h5"
    from gpunet import layers
    from gpunet.models import Sequential

    model = Sequential(
        [layers.Conv2D(2, 3, input_shape=(6, 6, 1)), layers.Flatten(), layers.Dense(2)]
    )
    for source in sources:  # whatever is imported lazily is there now
        path.write_bytes(source)
        load(path, model)
        path.write_bytes(source[:-1])
        load(path, model)
    watch = Watch(path)
    bad = []
    for n in range(first, first + count):
        print(n, flush=True)
        rng = random.Random(f"{seed}:{n}")
        try:
            mutated(rng, sources, path)
        except Exception:  # h5py itself refuses some of it
            continue
        watch.on = True
        found = load(path, model)
        watch.on = False
        bad += [f"{n}: {text}" for text in found + watch.seen]
        watch.seen.clear()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    others = sorted(set(os.listdir(folder)) - {"m.h5"})
    print(json.dumps({"bad": bad, "peak_bytes": peak, "others": others}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
