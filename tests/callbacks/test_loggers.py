"""BaseLogger, ProgbarLogger, CSVLogger and RemoteMonitor in `fit`."""

import csv
import http.server
import json
import threading
import urllib.parse

import numpy as np
import pytest

from gpunet.callbacks import BaseLogger, Callback, CSVLogger, ProgbarLogger, RemoteMonitor


def test_base_logger_leaves_the_models_logs_alone(make_model, data):
    options = {"batch_size": 4, "epochs": 2, "shuffle": False, "verbose": 0}
    first, second = make_model(["acc"]), make_model(["acc"])
    second.set_weights(first.get_weights())
    want = first.fit(*data, **options).history
    assert second.fit(*data, callbacks=[BaseLogger()], **options).history == want


def test_base_logger_averages_by_size(make_model, data):
    class Add(Callback):
        def on_batch_end(self, batch, logs=None):
            logs.update(batch_number=batch, last=batch)

    model = make_model()
    history = model.fit(
        *data, batch_size=4, verbose=0, callbacks=[Add(), BaseLogger(stateful_metrics=["last"])]
    ).history
    assert history["batch_number"] == [(0 * 4 + 1 * 4 + 2 * 2) / 10] and history["last"] == [2]
    assert list(history) == ["loss", "batch_number", "last"]


@pytest.mark.parametrize(("mode", "total"), [("samples", 10), ("steps", 3)])
def test_progbar_logger_takes_the_place_of_the_bar(make_model, data, capsys, mode, total):
    model = make_model(["acc"])
    model.fit(*data, batch_size=4, epochs=2, validation_data=data, callbacks=[ProgbarLogger(mode)])
    lines = capsys.readouterr().out.splitlines()
    assert [lines[0], lines[2]] == ["Epoch 1/2", "Epoch 2/2"] and len(lines) == 4
    for line in (lines[1], lines[3]):
        assert line.startswith(f"{total}/{total} - ") and f"/{mode[:-1]} - loss: " in line
        names = [part.split(":")[0] for part in line.split(" - ")[2:]]
        assert names == ["loss", "acc", "val_loss", "val_acc"]


def test_progbar_logger_is_as_verbose_as_fit(make_model, data, capsys):
    model = make_model()
    model.fit(*data, callbacks=[ProgbarLogger("steps")], verbose=0)
    assert capsys.readouterr().out == ""
    model.fit(*data, callbacks=[ProgbarLogger("steps")], verbose=2)
    assert len(capsys.readouterr().out.splitlines()) == 2
    with pytest.raises(ValueError, match="verbose: expected 0, 1, 2 or 'auto', got 7"):
        model.fit(*data, callbacks=[ProgbarLogger()], verbose=7)
    with pytest.raises(ValueError, match="expected 'samples' or 'steps', got 'batches'"):
        ProgbarLogger("batches")


def test_progbar_logger_with_steps_per_epoch(make_model, data, capsys):
    progress = ProgbarLogger()
    make_model().fit(*data, batch_size=4, steps_per_epoch=2, callbacks=[progress])
    assert progress.target == 8 and "\n8/8 - " in capsys.readouterr().out


def rows_of(path, **options):
    with open(path, newline="", encoding="utf8") as file:
        return list(csv.reader(file, **options))


def test_csv_logger(make_model, data, tmp_path):
    path, model = tmp_path / "log.csv", make_model(["acc"])
    logger = CSVLogger(path, separator=";")
    for epochs in (3, 2):  # a second call of fit replaces the file
        history = model.fit(
            *data, epochs=epochs, validation_data=data, validation_freq=2, callbacks=[logger],
            verbose=0,
        ).history  # fmt: skip
        header, *rows = rows_of(path, delimiter=";")
        assert header == ["epoch", "acc", "loss", "val_acc", "val_loss"]
        assert [row[0] for row in rows] == [str(i) for i in range(epochs)]
        assert [float(row[2]) for row in rows] == history["loss"]
        assert rows[0][3:] == ["NA", "NA"] and [float(rows[1][4])] == history["val_loss"]
    assert logger.csv_file is None


def test_csv_logger_appends_in_the_columns_that_are_there(make_model, data, tmp_path):
    path, model = tmp_path / "log.csv", make_model(["acc"])
    for start in (0, 2):
        model.fit(
            *data, epochs=start + 2, initial_epoch=start, callbacks=[CSVLogger(path, append=True)],
            verbose=0,
        )  # fmt: skip
    rows = rows_of(path)
    assert [row[0] for row in rows] == ["epoch", "0", "1", "2", "3"]
    with pytest.warns(UserWarning, match=r"log.csv' has no columns for \['mae'\]"):
        make_model(["mae"]).fit(*data, callbacks=[CSVLogger(path, append=True)], verbose=0)
    rows = rows_of(path)
    assert rows[0] == ["epoch", "acc", "loss"] and rows[5][:2] == ["0", "NA"] and len(rows) == 6
    path.write_text("")
    make_model().fit(*data, callbacks=[CSVLogger(path, append=True)], verbose=0)
    assert rows_of(path)[0] == ["epoch", "loss"]


def test_csv_logger_is_readable_while_training_and_after_an_error(make_model, data, tmp_path):
    class Fail(Callback):
        def on_epoch_end(self, epoch, logs=None):
            assert len(rows_of(path)) == epoch + 2
            if epoch == 1:
                raise RuntimeError("stop here")

    path, model = tmp_path / "log.csv", make_model()
    logger = CSVLogger(str(path))
    with pytest.raises(RuntimeError, match="stop here"):
        model.fit(*data, epochs=3, callbacks=[logger, Fail()], verbose=0)
    model.fit(*data, callbacks=[logger], verbose=0)
    assert len(rows_of(path)) == 2
    with pytest.raises(ValueError, match="separator as one character, got ', '"):
        CSVLogger(path, separator=", ")


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.seen.append((self.path, self.headers, body))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.seen, server.status = [], 200
        server.root = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_remote_monitor(make_model, data, server):
    class Add(Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs.update(one=np.float32(0.5), several=np.arange(2))

    monitors = [
        RemoteMonitor(server.root),
        RemoteMonitor(server.root, "/p?q=1", headers={"X-Key": "k"}, send_as_json=True),
        RemoteMonitor(server.root, field="logs"),
    ]
    history = make_model().fit(*data, callbacks=[Add(), *monitors], verbose=0).history
    want = {"epoch": 0, "loss": history["loss"][0], "one": 0.5, "several": [0, 1]}
    form, plain, named = server.seen
    assert form[0] == named[0] == "/publish/epoch/end/" and plain[0] == "/p?q=1"
    assert json.loads(urllib.parse.parse_qs(form[2])["data"][0]) == want
    assert json.loads(urllib.parse.parse_qs(named[2])["logs"][0]) == want
    assert form[1]["Content-Type"] == "application/x-www-form-urlencoded"
    assert json.loads(plain[2]) == want
    assert plain[1]["Content-Type"] == "application/json" and plain[1]["X-Key"] == "k"


def test_remote_monitor_only_warns(make_model, data, server):
    server.status = 500
    model = make_model()
    message = "could not reach RemoteMonitor root server at "
    with pytest.warns(UserWarning, match=f"{message}{server.root} .HTTP Error 500"):
        model.fit(*data, callbacks=[RemoteMonitor(server.root)], verbose=0)
    for root in ("http://127.0.0.1:1", "http://bad host"):
        with pytest.warns(UserWarning, match=message + root):
            assert model.fit(*data, epochs=2, callbacks=[RemoteMonitor(root)], verbose=0).epoch
    with pytest.raises(ValueError, match="expected root to start with http:// or https://, got"):
        RemoteMonitor("file:///etc")
