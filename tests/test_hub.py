"""`load_reference` and the hub: a small one on this machine, and what can go wrong."""

import errno
import hashlib
import os
import shutil
import socket
import threading
import time
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants
from huggingface_hub import utils as hub_utils
from transformers import GPTNeoXConfig

from helpers import hub as module
from helpers import load_reference, reference
from helpers.hub import ModelNotLoaded
from random_gpt2 import save
from test_reference import fresh_process, sentence

COMMIT = "a" * 40


class Answers(BaseHTTPRequestHandler):
    """Serves `server.files / name`; `server.habit` is what goes wrong on the way."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        name, _, place = self.path[1:].partition("/resolve/")
        file = place.partition("/")[2]
        self.server.asked.append(f"{self.command} {file}")
        habit = self.server.habit
        time.sleep(habit.get("delay", 0))
        path = self.server.files / name / file
        if "refuses" in habit:
            status, why = habit["refuses"]
            return self.say(status, **{"X-Error-Code": why})
        if not path.is_file():
            return self.say(404, **{"X-Error-Code": "EntryNotFound"})
        content = path.read_bytes()
        start = int(self.headers.get("Range", "bytes=0-")[6:].rstrip("-"))
        etag = f'"{hashlib.sha1(content).hexdigest()}"'
        self.say(206 if start else 200, content[start:], ETag=etag)

    do_HEAD = do_GET

    def say(self, status, content=b"", **headers):
        self.send_response(status)
        headers |= {"X-Repo-Commit": COMMIT, "Content-Length": len(content)}
        for key, value in headers.items():
            self.send_header(key, str(value))
        self.end_headers()
        if self.command != "GET":
            return
        if len(content) > 9000 and self.server.habit.pop("breaks off", False):
            self.wfile.write(content[:9000])
            self.close_connection = True
        else:
            self.wfile.write(content)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """What the hub has: one model, saved once for all tests."""
    folder = tmp_path_factory.mktemp("hub")
    save(folder / "theirs" / "gpt2")
    return folder


@pytest.fixture
def hub(files):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.files, server.asked, server.habit = files, [], {}
    server.address = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=partial(server.serve_forever, 0.01), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def fresh(hub, tmp_path, monkeypatch):
    """As in a fresh kernel with an empty cache and HF_ENDPOINT set."""
    monkeypatch.setattr(reference, "_loaded", {})
    monkeypatch.setattr(reference, "_current", {})
    monkeypatch.delenv("COURSE_REFERENCE", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    point_at(hub.address, monkeypatch)
    for scheme in ("http", "https", "all"):
        monkeypatch.delenv(f"{scheme}_proxy", raising=False)
        monkeypatch.delenv(f"{scheme}_proxy".upper(), raising=False)


def point_at(address: str, monkeypatch) -> None:
    """What HF_ENDPOINT sets at the start of a process."""
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    for place in (constants, huggingface_hub.file_download):  # older ones have a copy
        monkeypatch.setattr(
            place, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False
        )
    for forget in ("reset_sessions", "close_session"):  # before and since version 1
        getattr(hub_utils, forget, lambda: None)()


def forget() -> None:
    """Another kernel, the same cache."""
    reference._loaded.clear()


def snapshot() -> Path:
    """The cache's folder of the model."""
    cache = Path(constants.HF_HUB_CACHE)
    return cache / "models--theirs--gpt2" / "snapshots" / COMMIT


def spoken(reference) -> list[str]:
    """That all of it is there: weights and tokenizer."""
    logits, _ = reference.run_with_cache(reference.to_tokens("Hello"))
    assert logits.isfinite().all()
    return reference.to_str_tokens("Hello", prepend_bos=False)


# ---------------------------------------------------------------- it comes, whole


def test_a_first_download_and_then_no_network(files, tmp_path, hub):
    """In a process of its own: bars and settings as a person has them."""
    code = """
        from helpers import load_reference, reference
        for attempt in range(2):
            print(load_reference("theirs/gpt2").to_str_tokens("Hello")[1:])
            reference._loaded.clear()
            print("----")
    """
    run = fresh_process(code, tmp_path, HF_ENDPOINT=hub.address, TQDM_POSITION="-1")
    first, second, _ = run.stdout.split("----\n")
    assert first == second == "['H', 'e', 'l', 'l', 'o']\n", run.stderr
    assert "model.safetensors: 100%" in run.stderr
    assert "Loading weights" not in run.stderr
    assert hub.asked.count("GET model.safetensors") == 1
    assert hub.asked[-1] == "GET model.safetensors"  # no question the second time


@pytest.mark.parametrize(
    "lost",
    [
        ["model.safetensors"],
        ["tokenizer.json"],
        ["tokenizer.json", "tokenizer_config.json"],
        ["config.json"],
        ["model.safetensors", "tokenizer.json", "tokenizer_config.json"],
    ],
)
def test_a_download_that_was_stopped_is_completed(lost, hub):
    load_reference("theirs/gpt2")
    forget()
    for file in lost:
        (snapshot() / file).resolve().unlink()  # dangling links stay, as they may
    hub.asked.clear()
    assert spoken(load_reference("theirs/gpt2")) == [*"Hello"]
    assert sorted(q[4:] for q in hub.asked if q.startswith("GET")) == sorted(lost)


def test_what_is_cut_off_in_the_cache_comes_again(hub):
    load_reference("theirs/gpt2")
    forget()
    weights = snapshot() / "model.safetensors"
    os.truncate(weights, 1000)
    assert spoken(load_reference("theirs/gpt2")) == [*"Hello"]
    assert weights.stat().st_size > 1000


def test_a_hub_that_breaks_off_in_the_middle(hub):
    """Since its version 1, huggingface_hub goes on by itself; before, the next load."""
    hub.habit = {"breaks off": True}
    try:
        load_reference("theirs/gpt2")
    except ModelNotLoaded as error:
        assert "load it again" in str(error)
    assert spoken(load_reference("theirs/gpt2")) == [*"Hello"]
    assert hub.asked.count("GET model.safetensors") == 2


def test_an_interrupt_stops_it_and_the_next_load_goes_on(hub, monkeypatch):
    def interrupt(*args, **kwargs):
        if args[1] == "model.safetensors":
            raise KeyboardInterrupt
        return download(*args, **kwargs)

    download = huggingface_hub.hf_hub_download
    with monkeypatch.context() as patch:
        patch.setattr(huggingface_hub, "hf_hub_download", interrupt)
        with pytest.raises(KeyboardInterrupt):
            load_reference("theirs/gpt2")
    hub.asked.clear()
    assert spoken(load_reference("theirs/gpt2")) == [*"Hello"]
    assert [q for q in hub.asked if q.startswith("GET")] == ["GET model.safetensors"]


def test_weights_in_several_files(files, hub):
    sharded = files / "theirs" / "sharded"
    from transformers import GPT2LMHeadModel

    shutil.copytree(files / "theirs" / "gpt2", sharded)
    (sharded / "model.safetensors").unlink()
    GPT2LMHeadModel.from_pretrained(files / "theirs" / "gpt2").save_pretrained(
        sharded, max_shard_size="20KB"
    )
    load_reference("theirs/sharded")
    forget()
    cache = Path(constants.HF_HUB_CACHE) / "models--theirs--sharded" / "snapshots"
    parts = sorted((cache / COMMIT).glob("model-*.safetensors"))
    assert len(parts) > 1
    parts[-1].resolve().unlink()
    hub.asked.clear()
    assert spoken(load_reference("theirs/sharded")) == [*"Hello"]
    assert f"GET {parts[-1].name}" in hub.asked


def test_a_slow_hub_is_waited_for(hub, monkeypatch, capsys):
    monkeypatch.setattr(module, "_CALL_SECONDS", 0.2)
    hub.habit = {"delay": 0.4}
    assert spoken(load_reference("theirs/gpt2")) == [*"Hello"]
    said = capsys.readouterr().out
    assert said.count("slow to answer") == 1 and said.endswith("at a time.\n")


def test_a_revision_can_be_named(hub):
    assert spoken(load_reference("theirs/gpt2@main")) == [*"Hello"]
    forget()
    hub.asked.clear()
    assert spoken(load_reference(f"theirs/gpt2@{COMMIT}")) == [*"Hello"]
    assert hub.asked == []


# ---------------------------------------------------------------- it does not come


def test_no_network_is_told_within_three_seconds(monkeypatch, capfd):
    """Where even the question for the hub's address is never answered."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: time.sleep(4) or [])
    point_at("https://huggingface.co", monkeypatch)
    start = time.perf_counter()
    with pytest.raises(ModelNotLoaded, match="cannot be reached") as error:
        load_reference("gpt2")
    assert time.perf_counter() - start < 3
    assert 'load_reference("stories")' in sentence(error)
    assert capfd.readouterr() == ("", "")


def test_half_a_download_and_no_network(hub, monkeypatch):
    load_reference("theirs/gpt2")
    forget()
    (snapshot() / "model.safetensors").resolve().unlink()
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        address = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    point_at(address, monkeypatch)
    start = time.perf_counter()
    with pytest.raises(ModelNotLoaded, match="incomplete") as error:
        load_reference("theirs/gpt2")
    assert time.perf_counter() - start < 3
    assert "cannot be reached" in sentence(error)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelNotLoaded, match="incomplete.*HF_HUB_OFFLINE") as error:
        load_reference("theirs/gpt2")
    sentence(error)


def test_a_hub_that_takes_the_call_and_says_nothing(monkeypatch, capsys):
    """As behind some firewalls: the connection stands and no answer ever comes."""
    monkeypatch.setattr(module, "_CALL_SECONDS", 0.1)
    monkeypatch.setattr(module, "_ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        point_at(f"http://127.0.0.1:{silent.getsockname()[1]}", monkeypatch)
        with pytest.raises(ModelNotLoaded, match="no answer") as error:
            load_reference("theirs/gpt2")
    assert "HF_HUB_DOWNLOAD_TIMEOUT" in sentence(error)
    assert "waiting for it" in capsys.readouterr().out


@pytest.mark.parametrize(
    "status, code, told",
    [
        (401, "RepoNotFound", "check the spelling"),
        (404, "RepoNotFound", "check the spelling"),
        (404, "EntryNotFound", "no config.json"),
        (404, "RevisionNotFound", "revision"),
        (401, "GatedRepo", "permission"),
        (503, "", "503"),
    ],
)
def test_a_hub_that_refuses(hub, status, code, told):
    hub.habit = {"refuses": (status, code)}
    start = time.perf_counter()
    with pytest.raises(ModelNotLoaded) as error:
        load_reference("theirs/gpt2")
    assert time.perf_counter() - start < 3
    assert told in sentence(error) and "'theirs/gpt2'" in sentence(error)


def test_another_kind_of_model_costs_no_download(files, hub, monkeypatch):
    GPTNeoXConfig(num_hidden_layers=1).save_pretrained(files / "theirs" / "neox")
    (files / "theirs" / "neox" / "model.safetensors").write_bytes(b"16 GB")
    with pytest.raises(ModelNotLoaded, match="'gpt_neox' model") as error:
        load_reference("theirs/neox")
    sentence(error)
    assert "GET model.safetensors" not in hub.asked
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelNotLoaded, match="'gpt_neox' model"):
        load_reference("theirs/neox")  # what is in the cache is enough to say so


@pytest.mark.parametrize(
    "number, told", [(errno.ENOSPC, "disk is full"), (errno.EACCES, "HF_HOME")]
)
def test_a_cache_that_takes_nothing(monkeypatch, number, told):
    def fail(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    with pytest.raises(ModelNotLoaded, match=told) as error:
        load_reference("theirs/gpt2")
    sentence(error)


def test_the_way_goes_through_the_proxy(hub, monkeypatch):
    """The hub itself has no address here that anybody could find."""
    monkeypatch.setenv("https_proxy", hub.address)
    assert module._takes_calls("https://no-such-host.invalid")
    monkeypatch.setenv("no_proxy", "no-such-host.invalid")
    assert not module._takes_calls("https://no-such-host.invalid")
