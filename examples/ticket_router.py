"""Rank customers' tickets by priority and route them to a department.

python examples/ticket_router.py [--epochs N] [--quick]

A model with three inputs (title, body, tags) and two outputs (priority, department), trained on
tickets that are made here: each department has its words, and "urgent" words raise the priority.
"""

import argparse

import numpy as np

from gpunet.layers import LSTM, Dense, Embedding, Input, concatenate
from gpunet.models import Model
from gpunet.preprocessing.sequence import pad_sequences
from gpunet.preprocessing.text import Tokenizer
from gpunet.utils import set_random_seed, to_categorical

DEPARTMENTS = {
    "billing": "invoice refund charge card payment price money account".split(),
    "network": "router wifi slow connection cable signal modem outage".split(),
    "sales": "offer upgrade contract buy plan discount order quote".split(),
    "support": "password login error crash install update screen bug".split(),
}
URGENT = "urgent immediately now broken lost stopped".split()
CALM = "whenever question wondering sometime curious maybe".split()
COMMON = "the a my please help with is i have your about and it to for since".split()
TAGS = ["vip", "phone", "mail", "chat", "second time"]


def tickets(count):
    """Return titles, bodies, tags (0 or 1 each), priorities from 0 to 1 and departments."""
    rng = np.random.default_rng(count)
    departments = rng.integers(0, len(DEPARTMENTS), count)
    urgent = rng.integers(0, 2, count)
    tags = rng.integers(0, 2, (count, len(TAGS))).astype("float32")
    titles, bodies = [], []
    for department, hurry in zip(departments, urgent):
        own = list(DEPARTMENTS.values())[department]
        tone = URGENT if hurry else CALM
        titles.append(" ".join(rng.permutation([*rng.choice(own, 1), *rng.choice(COMMON, 3)])))
        words = [*rng.choice(own, 2), *rng.choice(tone, 1), *rng.choice(COMMON, 8)]
        bodies.append(" ".join(rng.permutation(words)))
    priority = (0.6 * urgent + 0.2 * tags[:, 0] + 0.2 * tags[:, 4]).astype("float32")
    return titles, bodies, tags, priority, departments


def build(words, width):
    title = Input(shape=(None,), name="title")
    body = Input(shape=(None,), name="body")
    tags = Input(shape=(len(TAGS),), name="tags")
    title_words = Embedding(words, width)(title)
    body_words = Embedding(words, width)(body)
    features = concatenate([LSTM(width)(title_words), LSTM(width)(body_words), tags])
    priority = Dense(1, activation="sigmoid", name="priority")(features)
    department = Dense(len(DEPARTMENTS), activation="softmax", name="department")(features)
    model = Model(inputs=[title, body, tags], outputs=[priority, department])
    model.compile(
        "adam",
        loss={"priority": "binary_crossentropy", "department": "categorical_crossentropy"},
        metrics={"priority": "mae", "department": "acc"},
        loss_weights={"priority": 1.0, "department": 0.5},
    )
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--quick", action="store_true", help="fewer tickets, a few seconds")
    args = parser.parse_args()

    set_random_seed(0)
    count = 1200 if args.quick else 6000
    titles, bodies, tags, priority, departments = tickets(count)
    tokenizer = Tokenizer()
    tokenizer.fit_on_texts(titles + bodies)
    x = {
        "title": pad_sequences(tokenizer.texts_to_sequences(titles)),
        "body": pad_sequences(tokenizer.texts_to_sequences(bodies)),
        "tags": tags,
    }
    y = {"priority": priority, "department": to_categorical(departments)}

    model = build(len(tokenizer.word_index) + 1, 16 if args.quick else 32)
    model.summary()
    model.fit(x, y, 32, args.epochs, verbose=2, validation_split=0.2)

    test = slice(-count // 5, None)  # what was validated on
    ranks, routes = model.predict({name: a[test] for name, a in x.items()})
    names = list(DEPARTMENTS)
    for i in np.argsort(-ranks[:, 0])[[0, 1, -2, -1]]:
        print(f"{ranks[i, 0]:.2f}  {names[routes[i].argmax()]:8s} {bodies[test][i]}")
    error = np.abs(ranks[:, 0] - priority[test]).mean()
    print(f"mean error of the priority: {error:.3f}")
    print(f"department accuracy: {np.mean(routes.argmax(axis=1) == departments[test]):.4f}")


if __name__ == "__main__":
    main()
