"""Worker processes: the results of threads, no hang when one dies, none left behind."""

import os
import signal
import subprocess
import sys
import textwrap
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

import gpunet
from gpunet.data.workers import WorkerError
from gpunet.layers import Dense
from gpunet.models import Sequential

sys.path.insert(0, str(Path(__file__).parent))
from worker_data import CantLoad, Drawn, Slow

pytestmark = pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")
ROOT = Path(__file__).resolve().parents[2]


def model_of():
    gpunet.utils.set_random_seed(1)
    model = Sequential([Dense(1, input_shape=(3,))])
    model.compile("sgd", "mse")
    return model


def children():
    """Return the pids of this process's living children."""
    pids = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    return [pid for pid in pids if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_results_dont_depend_on_the_number_of_processes():
    found = []
    for workers in (1, 3):
        history = model_of().fit(
            Drawn(), epochs=2, workers=workers, use_multiprocessing=True, verbose=0
        )
        found.append(history.history["loss"])
    assert found[0] == found[1]
    assert found[0][0] < found[0][1]  # batches grow with the epoch: processes know of its end
    assert not children()


@pytest.mark.parametrize(
    ("how", "error", "text"),
    [
        ("kill", WorkerError, r"^worker process \d+ was killed .SIGKILL. while it made batch 4$"),
        pytest.param(
            "exit",
            WorkerError,
            r"ended .exit code 3. while it made batch 4",
            marks=pytest.mark.slow,
        ),
        ("raise", KeyError, "picture 4"),
        pytest.param(
            "shape",
            ValueError,
            r"^fit: batch 4: input .* expected shape .None, 3., got .4, 9.",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_worker_in_trouble_is_an_error_and_nothing_is_left(how, error, text):
    model = model_of()
    with pytest.raises(error, match=text) as caught:
        model.fit(Slow(bad=4, how=how), workers=2, use_multiprocessing=True, shuffle=False,
                  verbose=0)  # fmt: skip
    if how == "raise":
        assert "worker_data.py" in str(caught.value.__cause__)  # the traceback over there
    assert int(model.optimizer.iterations) == 4
    assert not children()
    assert model.fit(Drawn(), verbose=0).history["loss"]


def test_what_cant_be_sent_is_fetched_by_threads_with_one_warning():
    sequence = Drawn()
    sequence.function = lambda: 0
    for source, reason in ((sequence, "can't be pickled"), (CantLoad(), "made for one process")):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model_of().fit(source, epochs=2, workers=2, use_multiprocessing=True, verbose=0)
        assert len(caught) == 1 and reason in str(caught[0].message)
        assert "falls back to threads" in str(caught[0].message)
        assert caught[0].filename == __file__
        assert not children()


def script(text, **options):
    """Start a program that has worker_data at hand."""
    path = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(text)],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )


TRAINS = """
    import multiprocessing, signal
    import gpunet
    from gpunet.layers import Dense
    from gpunet.models import Sequential
    from worker_data import Drawn, Slow

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it

    class Say(gpunet.callbacks.Callback):
        def on_batch_end(self, batch, logs=None):
            if batch == 1:
                print([p.pid for p in multiprocessing.active_children()], flush=True)

    model = Sequential([Dense(1, input_shape=(3,))])
    model.compile("sgd", "mse")
    try:
        model.fit(Slow(1000, 0.05), workers=2, use_multiprocessing=True, verbose=0,
                  callbacks=[Say()])
    except KeyboardInterrupt:
        print(multiprocessing.active_children(), flush=True)
        model.fit(Drawn(), verbose=0)
        print("usable", flush=True)
"""


def alive(pid):
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")")[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False


def gone(pids, seconds=20):
    end = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < end:
        time.sleep(0.05)
    return not any(map(alive, pids))


def test_ctrl_c_leaves_no_process_and_a_usable_model():
    program = script(TRAINS)
    workers = eval(program.stdout.readline())
    assert len(workers) == 2 and all(map(alive, workers))
    os.killpg(program.pid, signal.SIGINT)  # as a terminal does: to the whole group
    out, err = program.communicate(timeout=60)
    assert out.split("\n")[:2] == ["[]", "usable"] and program.returncode == 0, err
    assert gone(workers)
    assert "Traceback" not in err


def test_workers_dont_outlive_a_parent_that_is_killed():
    program = script(TRAINS)
    workers = eval(program.stdout.readline())
    program.kill()
    program.communicate(timeout=60)
    assert gone(workers)


def test_a_script_without_main_guard_trains_with_threads(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(
        textwrap.dedent("""
        import gpunet
        from gpunet.layers import Dense
        from gpunet.models import Sequential
        from worker_data import Drawn

        model = Sequential([Dense(1, input_shape=(3,))])
        model.compile("sgd", "mse")
        model.fit(Drawn(), workers=2, use_multiprocessing=True, verbose=0)
        print("trained")
        """)
    )
    done = subprocess.run(
        [sys.executable, path],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent)])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == "trained\n" and done.returncode == 0, done.stderr
    assert "falls back to threads: a worker process ended" in done.stderr
    assert "if __name__ == '__main__':" in done.stderr


@pytest.mark.slow
def test_random_numbers_of_processes_differ_by_batch_and_repeat_with_the_seed():
    def xs(workers):
        np.random.seed(4)
        found = []

        class Keep(gpunet.callbacks.Callback):
            def on_predict_batch_end(self, batch, logs=None):
                found.append(logs["outputs"][0].sum())

        model = model_of()
        np.random.seed(4)
        model.predict(Drawn(3), workers=workers, use_multiprocessing=True, callbacks=[Keep()])
        return found

    one = xs(1)
    assert one == xs(2) and len(set(one)) == 3
