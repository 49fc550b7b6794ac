"""Random numbers: known answers, the same integers everywhere, distributions, state."""

import copy
import json
import math
import threading

import fake_device
import numpy as np
import pytest
import scipy.special as sp
import scipy.stats as st

from gpunet import arrays, ops
from gpunet.autodiff import GradientTape
from gpunet.ops import philox, random, random_cpu
from gpunet.tensor import Tensor


def key(seed=1, stream=0, skipped=0):
    return np.array([seed, stream, skipped], np.uint64)


def both(k, n, width=64):
    """Return the integers from NumPy's generator and from array operations."""
    native = philox.bits(np, k, n, width)
    with fake_device.fake_device() as device:
        put = device.xp.asarray(k)
        with fake_device.capture():
            made = philox.bits(device.xp, put, n, width)
        return native, fake_device.to_host(made)


def reference(counter, words):
    """Return NumPy's generator with a key and the counter before the first block."""
    counter, words = (np.array([int(n) for n in a], np.uint64) for a in (counter, words))
    return np.random.Philox(counter=counter, key=words)


# Random123's kat_vectors, philox4x64 10 rounds: counter, key, result.
KNOWN = [
    ([0] * 4, [0] * 2,
     [0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B]),
    ([2**64 - 1] * 4, [2**64 - 1] * 2,
     [0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0]),
]  # fmt: skip


@pytest.mark.parametrize("counter, words, wanted", KNOWN)
def test_known_answers(counter, words, wanted):
    """The counter is stepped before each block, so one below it is asked for."""
    before = [(c - 1) % 2**64 if not any(counter[:i]) else c for i, c in enumerate(counter)]
    drawn = reference(before, words).random_raw(4)
    assert drawn.tolist() == wanted
    if counter == [0] * 4:  # ours has no upper words: its counter goes from 2**64 - 1 to 2**64
        k = key(words[0], words[1], 2**64 - 1)
        wanted = reference([2**64 - 1, 0, 0, 0], words).random_raw(4).tolist()
        for got in both(k, 4):
            assert got.tolist() == wanted


@pytest.mark.parametrize("width", [16, 32, 64])
@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5, 31, 1000])
@pytest.mark.parametrize(
    "k",
    [key(0), key(1, 7), key(2**64 - 1, 2**63, 12345), key(5, 1, 2**32 - 3), key(9, 0, 2**64 - 4)],
    ids=["zero", "stream", "large", "carry_32", "carry_64"],
)
def test_same_integers_everywhere(k, n, width):
    native, made = both(k, n, width)
    assert native.dtype == made.dtype == f"uint{width}"
    np.testing.assert_array_equal(native, made)
    generator = reference([k[2], 0, 0, 0], k[:2])
    words = generator.random_raw(n)
    if width == 64:
        np.testing.assert_array_equal(native, words)
    else:
        parts = 64 // width
        for i in range(parts):  # the lowest bits first
            part = (words >> np.uint64(i * width)) & np.uint64(2**width - 1)
            np.testing.assert_array_equal(native[i::parts], part[: -(-(n - i) // parts)])


def test_draws_continue_each_other():
    generator = random.Generator(3)
    parts = [philox.bits(np, generator.draw(n).array, n) for n in (8, 4, 12)]
    whole = philox.bits(np, random.Generator(3).draw(24).array, 24)
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_draws_never_overlap():
    """An op that returns n elements never uses more than what `draw(n)` reserves."""
    for n in (1, 3, 4, 5, 7):
        for function in (random.uniform, random.normal, random.truncated_normal):
            generator = random.Generator(0)
            generator.draw(n)
            reserved = 4 * int(generator.state()["offset"])
            needed = 2 * -(-n // 2) if function is random.normal else n
            assert reserved >= needed


def test_a_draw_moves_the_counter_on_the_device():
    with fake_device.fake_device():
        generator = random.Generator(5)
        generator.draw(1)  # puts the state there
        with fake_device.capture():
            keys = [generator.draw(10).array for _ in range(3)]
            y = ops.random.random_uniform(keys[-1], shape=(3,))
        assert [fake_device.to_host(k).tolist() for k in keys] == [[5, 0, 1], [5, 0, 4], [5, 0, 7]]
        assert y.numpy().shape == (3,)
        assert generator.state() == {"seed": 5, "stream": 0, "offset": 10}


def test_recorded_steps_see_a_new_seed():
    """A replayed graph holds the state's memory, so seeding writes into it."""
    generator = random.Generator(1)
    generator.draw(100)
    state = generator._state
    generator.set_seed(2)
    assert generator._state is state and state.tolist() == [2, 0, 0]


def test_state_comes_and_goes():
    generator = random.Generator(7)
    generator.draw(9)
    generator.reserve()
    state = json.loads(json.dumps(generator.state()))
    wanted = generator.draw(5).numpy(), generator.reserve()
    other = random.Generator(0)
    other.set_state(copy.deepcopy(state))
    np.testing.assert_array_equal(other.draw(5).numpy(), wanted[0])
    assert other.reserve() == wanted[1]
    with fake_device.fake_device():
        third = random.Generator(0)
        third.set_state(state)
        np.testing.assert_array_equal(third.draw(5).numpy(), wanted[0])


def test_moving_to_another_device_goes_on_counting():
    generator = random.Generator(7)
    generator.draw(8)
    with fake_device.fake_device():
        assert generator.draw(4).numpy().tolist() == [7, 0, 2]
        with arrays.device("cpu"):
            assert generator.draw(4).numpy().tolist() == [7, 0, 3]


def test_unset_seed_follows_numpy():
    seeds = []
    for _ in range(2):
        np.random.seed(4)
        seeds.append(random.Generator().seed)
    assert seeds[0] == seeds[1] != random.Generator().seed


def test_default_generator():
    before = random.default().state()
    try:
        random.set_seed(12)
        a = random.uniform((4,)).numpy(), random.permutation(5).tolist()
        random.set_seed(12)
        b = random.uniform((4,)).numpy(), random.permutation(5).tolist()
        np.testing.assert_array_equal(a[0], b[0])
        assert a[1] == b[1] and sorted(a[1]) == [0, 1, 2, 3, 4]
        assert not np.array_equal(random.uniform((4,)).numpy(), b[0])
    finally:
        random.default().set_state(before)


def test_threads_get_different_keys():
    generator = random.Generator(0)
    found = []

    def work():
        for _ in range(50):
            found.append(("stream", generator.reserve()[1]))
            found.append(("offset", int(generator.draw(4).array[2])))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(set(found)) == 400


def test_seeded_keys():
    assert random.seeded(3) == random.seeded(3) != random.seeded(4)
    assert random.seeded(-1)[0] == 2**64 - 1
    same = [random.normal((5,), key=random.seeded(3)).numpy() for _ in range(2)]
    np.testing.assert_array_equal(*same)


N = 40_000
TWO = sp.ndtr(-2.0)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(
    "function, options, law",
    [
        (random.uniform, {"minval": -1.0, "maxval": 3.0}, st.uniform(-1, 4)),
        (random.normal, {"mean": 1.0, "stddev": 2.0}, st.norm(1, 2)),
        (random.truncated_normal, {"mean": 0.5, "stddev": 2.0}, st.truncnorm(-2, 2, 0.5, 2)),
    ],
    ids=["uniform", "normal", "truncated_normal"],
)
def test_distribution(function, options, law, dtype):
    y = function((N // 4, 4), dtype=dtype, key=(21, 0, 0), **options)
    assert y.shape == (N // 4, 4) and y.dtype == dtype
    values = y.numpy().astype("float64").ravel()
    assert np.isfinite(values).all()
    low, high = law.support()
    assert values.min() >= low and values.max() <= high
    assert st.kstest(values, law.cdf).statistic < 1.95 / np.sqrt(N) + 1e-3 * (dtype == "float16")
    assert values.mean() == pytest.approx(law.mean(), abs=5 * law.std() / np.sqrt(N))
    assert values.var() == pytest.approx(law.var(), rel=0.05)
    halves = np.corrcoef(values[: N // 2], values[N // 2 :])[0, 1]
    assert abs(halves) < 5 / np.sqrt(N / 2)


def test_uniform_is_below_its_end():
    for dtype in ("float16", "float32", "float64"):
        y = random.uniform((N,), dtype=dtype, key=(2, 0, 0)).numpy()
        assert y.min() >= 0 and y.max() < 1


def test_quantile_is_exact():
    q = np.linspace(-0.4999, 0.4999, 10001)
    np.testing.assert_allclose(random._normal_quantile(np, q), sp.ndtri(0.5 + q), atol=1e-14)
    assert pytest.approx(0.5 - TWO, abs=1e-16) == random._TWO_SIGMA


def test_whole_numbers():
    y = random.random_integers((N,), -3, 4, key=(1, 1, 0)).numpy()
    assert y.dtype == "int32"
    counts = np.bincount(y + 3, minlength=7)
    assert len(counts) == 7 and st.chisquare(counts).pvalue > 1e-4
    y = random.random_integers((5,), 0, 2**32, dtype="int64", key=(1, 1, 0)).numpy()
    np.testing.assert_array_equal(y, philox.bits(np, key(1, 1), 5, 32))
    with pytest.raises(ValueError, match="different integers"):
        random.random_integers((5,), 3, 3)


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_ones_with_a_probability(p):
    y = random.bernoulli((N,), p, key=(3, 0, 0)).numpy()
    assert set(np.unique(y)) <= {0.0, 1.0}
    assert y.mean() == pytest.approx(p, abs=4 * np.sqrt(p * (1 - p) / N) + 1e-9)


def test_permutation_is_fair():
    places = np.array([random.permutation(4, key=(0, i, 0)) for i in range(2000)])
    table = np.array([np.bincount(column, minlength=4) for column in places.T])
    assert st.chisquare(table, axis=None).pvalue > 1e-4


# -- dropout ------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.0, 0.25, 0.5, 1.0])
def test_dropout_scales_what_it_keeps(rate):
    x = Tensor(np.full((200, 100), 3.0, "float32"))
    with GradientTape() as tape:
        tape.watch(x)
        y = random.dropout(x, rate, generator=random.Generator(1))
    g = tape.gradient(y, x).numpy()
    y = y.numpy()
    kept = y != 0
    assert kept.mean() == pytest.approx(1 - rate, abs=0.02)
    if rate < 1:
        np.testing.assert_allclose(y[kept], 3 / (1 - rate), rtol=1e-6)
    np.testing.assert_allclose(g * 3, y, rtol=1e-6)


@pytest.mark.parametrize("rate", [1e-5, 1e-3, 0.01, 0.1, 0.2, 0.3, 0.5, 0.95, 0.9999])
def test_the_share_of_zeros(rate):
    """As asked for, to within a thousandth of it and what chance allows."""
    wanted = 2**16 if random.dropout_bits(rate) == 16 else 2**32
    assert round(rate * wanted) / wanted == pytest.approx(rate, rel=1e-3)
    n = 2_000_000
    y = random.dropout(np.ones(n, "float32"), rate, generator=random.Generator(5)).numpy()
    assert abs((y == 0).sum() - n * rate) < 5 * math.sqrt(n * rate * (1 - rate)) + 1
    # Neighbours, which share a word of random bits, know nothing of each other.
    zero = (y == 0).reshape(-1, 2)
    assert abs(zero.all(axis=1).sum() - n / 2 * rate**2) < 5 * math.sqrt(n / 2) * rate + 1


def test_dropout_of_whole_rows():
    y = random.dropout(np.ones((50, 8)), 0.5, noise_shape=(None, 1)).numpy()
    assert (y == y[:, :1]).all() and 0 < (y[:, 0] == 0).sum() < 50
    with pytest.raises(ValueError, match="noise_shape"):
        random.dropout(np.ones((50, 8)), 0.5, noise_shape=(50,))


def test_dropout_draws_anew_each_time():
    x = np.ones(1000)
    a, b = (random.dropout(x, 0.5).numpy() for _ in range(2))
    assert (a != b).any()


def test_second_derivative_uses_the_same_mask():
    x = Tensor(np.linspace(1, 2, 50))
    k = Tensor(key(4))
    with GradientTape() as outer:
        outer.watch(x)
        with GradientTape() as inner:
            inner.watch(x)
            y = ops.random.random_dropout(x, k, rate=0.5)
            z = y * y * y
        g = inner.gradient(z, x)
    h = outer.gradient(g, x).numpy()
    kept = y.numpy() != 0
    np.testing.assert_allclose(h, np.where(kept, 6 * 8 * x.numpy(), 0))


DRAWN = [
    (random.random_uniform, {"minval": -0.3, "maxval": 0.7}),
    (random.random_truncated_normal, {"mean": 0.5, "stddev": 2.0}),
]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("op, options", DRAWN)
@pytest.mark.parametrize("skipped", [0, 5, 2**64 - 3])
def test_pieces_are_those_of_one_draw(op, options, dtype, skipped):
    (pieces,) = op.fusions
    options = {"shape": (3, 2 * random_cpu.PIECE // 3 + 7), "dtype": dtype, **options}
    k = key(1, 2, skipped)
    assert pieces.when(np, k, **options)
    whole, _ = op.forward(np, k, **options)
    drawn, _ = pieces.forward(np, k, **options)
    assert drawn.dtype == dtype
    np.testing.assert_array_equal(drawn, whole)
