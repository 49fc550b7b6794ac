"""Learn a text letter by letter, and write more of the kind.

python examples/lstm_text_generation.py [TEXT] [--epochs N] [--quick]

TEXT is a file of at least some 100,000 letters; without one, Nietzsche's writings are fetched.
--quick learns a rhyme in a few seconds.
"""

import argparse

import numpy as np

from gpunet.callbacks import LambdaCallback
from gpunet.layers import LSTM, Dense
from gpunet.models import Sequential
from gpunet.optimizers import Adam
from gpunet.utils import get_file, set_random_seed

URL = "https://s3.amazonaws.com/text-datasets/nietzsche.txt"
RHYME = (
    "one for sorrow, two for joy, three for a girl, four for a boy, "
    "five for silver, six for gold, seven for a secret never to be told. "
)


def read(args):
    if args.quick:
        return RHYME * 12
    path = args.text or get_file("nietzsche.txt", origin=URL)
    with open(path, encoding="utf-8") as file:
        return file.read().lower()


def windows(text, length, step, index):
    """Return stretches of letters and the letter after each, both one-hot."""
    starts = range(0, len(text) - length, step)
    x = np.zeros((len(starts), length, len(index)), "float32")
    y = np.zeros((len(starts), len(index)), "float32")
    for i, start in enumerate(starts):
        for t, letter in enumerate(text[start : start + length]):
            x[i, t, index[letter]] = 1
        y[i, index[text[start + length]]] = 1
    return x, y


def draw(probabilities, temperature):
    """Return a letter's number; the lower the temperature, the more likely a likely one."""
    logits = np.log(probabilities.astype("float64") + 1e-12) / temperature
    exps = np.exp(logits - logits.max())
    return np.random.choice(len(exps), p=exps / exps.sum())


def write(model, seed, letters, index, count, temperature):
    """Return ``count`` letters that go on from a seed."""
    written, window = "", seed
    for _ in range(count):
        x = np.zeros((1, len(seed), len(letters)), "float32")
        x[0, np.arange(len(seed)), [index[letter] for letter in window]] = 1
        letter = letters[draw(model.predict_on_batch(x)[0], temperature)]
        written, window = written + letter, window[1:] + letter
    return written


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", nargs="?", help="text file to learn")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--quick", action="store_true", help="a rhyme, a few seconds")
    args = parser.parse_args()
    epochs = args.epochs or (12 if args.quick else 40)
    length, step, units = (12, 1, 48) if args.quick else (40, 3, 128)

    set_random_seed(0)
    text = read(args)
    letters = sorted(set(text))
    index = {letter: i for i, letter in enumerate(letters)}
    x, y = windows(text, length, step, index)
    print(f"{len(text)} letters, {len(letters)} different ones, {len(x)} stretches")

    model = Sequential([LSTM(units, input_shape=x.shape[1:]), Dense(len(letters), "softmax")])
    model.summary()
    model.compile(Adam(0.01), "categorical_crossentropy")

    def sample(epoch, logs):
        if (epoch + 1) % (4 if args.quick else 1) == 0:
            start = np.random.randint(0, len(text) - length)
            seed = text[start : start + length]
            for temperature in (0.2, 0.7):
                more = write(model, seed, letters, index, 60, temperature)
                print(f"  at temperature {temperature}: {seed!r} -> {more!r}")

    history = model.fit(
        x, y, 128, epochs, verbose=2, callbacks=[LambdaCallback(on_epoch_end=sample)]
    )
    losses = history.history["loss"]
    print(f"loss: {losses[0]:.4f} at first, {losses[-1]:.4f} at last")


if __name__ == "__main__":
    main()
