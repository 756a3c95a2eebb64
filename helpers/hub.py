"""Where a model's files are: a folder, the hub's local cache, or the hub itself.

huggingface_hub finds and fetches them. Here it is decided what to ask it for, and said
in one sentence why a model could not be had. huggingface_hub is imported only for a
name that is no folder: the first cell of a notebook does not pay for it.
"""

import errno
import json
import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

_CALL_SECONDS = 2.0  # for the connection alone: nobody waits long for no network
_ANSWER_SECONDS = 30.0  # once the connection stands
_SMALL = """config.json generation_config.json tokenizer.json tokenizer_config.json
vocab.json merges.txt vocab.txt spiece.model added_tokens.json
special_tokens_map.json""".split()
_WEIGHTS = """model.safetensors model.safetensors.index.json
pytorch_model.bin pytorch_model.bin.index.json""".split()  # the first that there is

_REFUSED = {  # by the name of huggingface_hub's error
    "GatedRepoError": "asks for permission: ask for it on its page, then run "
    "`hf auth login`",
    "RepositoryNotFoundError": "is not there, or private; check the spelling, or run "
    "`hf auth login`",
    "RevisionNotFoundError": "has no such revision; check what stands after the @",
}


class ModelNotLoaded(RuntimeError):
    """A reference model that cannot be loaded or used; the message says what to do."""

    def _render_traceback_(self):  # IPython shows this instead of our frames
        return [f"{type(self).__name__}: {self}"]


class Unreadable(ModelNotLoaded):
    """Files are missing or cut off: a download may mend it."""


def cached(name: str) -> Path | None:
    """The folder of the local cache with a model's config.json; the rest may lack.

    Args:
        name: as on the hub, `owner/name`, with `@revision` if not the newest is meant.
    """
    from huggingface_hub import try_to_load_from_cache

    try:
        repo, revision = _parts(name)
        config = try_to_load_from_cache(repo, "config.json", revision=revision)
    except ValueError:
        raise ModelNotLoaded(
            f"There is no folder {name!r} here, and a model on the hub is called "
            "`name` or `owner/name`; check the spelling."
        ) from None
    return Path(config).parent if isinstance(config, str) else None


def complete(name: str, examine: Callable[[Path], object]) -> Path:
    """Fetch what the local cache lacks of a model; the folder that has it all.

    Args:
        name: as for `cached`.
        examine: called with the folder when all but the weights is there; it raises
            if the model is none for this course. Weights can be gigabytes.

    Raises:
        ModelNotLoaded: no network, no such model, no permission, no room, ...
    """
    from huggingface_hub import constants

    hub, offline = constants.ENDPOINT, constants.HF_HUB_OFFLINE
    if offline or not _takes_calls(hub):
        known = "is neither a folder nor in the local cache"
        if cached(name):
            known = "is in the local cache, but its download is incomplete or damaged"
        why = f"{hub} cannot be reached; go"
        if offline:
            why = "HF_HUB_OFFLINE forbids the network; unset it, go"
        raise ModelNotLoaded(
            f"{name!r} {known}, and {why} online once, "
            'or use load_reference("stories"), which needs no network.'
        )
    usual = constants.HF_HUB_DOWNLOAD_TIMEOUT  # no argument of any function
    constants.HF_HUB_DOWNLOAD_TIMEOUT = max(usual, _ANSWER_SECONDS)
    try:
        return _fetch(name, examine)
    except ModelNotLoaded:
        raise
    except Exception as error:
        raise ModelNotLoaded(f"{name!r} on {hub} {_stopped(error)}.") from None
    finally:
        constants.HF_HUB_DOWNLOAD_TIMEOUT = usual


def first_line(error: BaseException) -> str:
    """An error's first line without its full stop, cut to what fits a sentence."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".:")[:200]


def _fetch(name: str, examine: Callable[[Path], object]) -> Path:
    _wait_for_an_answer(name)
    # Small files side by side: each costs two answers of a hub that may be slow. The
    # weights in this thread, where an interrupt stops them at once.
    with ThreadPoolExecutor(len(_SMALL)) as pool:
        config = list(pool.map(lambda file: _get(name, file), _SMALL))[0]
    if config is None:
        raise ModelNotLoaded(
            f"{name!r} has no config.json on the hub: there is no model of "
            "transformers under this name; check the spelling."
        )
    examine(config.parent)
    weights = next(filter(None, (_get(name, file) for file in _WEIGHTS)), None)
    if weights is None:
        raise ModelNotLoaded(
            f"{name!r} has no weights for PyTorch on the hub (no {_WEIGHTS[0]}); "
            "choose another model."
        )
    if weights.suffix == ".json":
        parts = json.loads(weights.read_text(encoding="utf-8"))["weight_map"]
        for part in sorted(set(parts.values())):
            _get(name, part)
    return config.parent


def _get(name: str, file: str) -> Path | None:
    """One file, from the cache if it is whole there; None if the hub has none."""
    import huggingface_hub as hf

    repo, revision = _parts(name)
    where = dict(revision=revision, endpoint=hf.constants.ENDPOINT)
    try:
        there, damaged = hf.try_to_load_from_cache(repo, file, revision=revision), False
        if isinstance(there, str):
            url = hf.hf_hub_url(repo, file, **where)
            size = hf.get_hf_file_metadata(url, timeout=_ANSWER_SECONDS).size
            damaged = size not in (None, os.path.getsize(there))
            if damaged:
                os.remove(there)
        how = dict(etag_timeout=_ANSWER_SECONDS, force_download=damaged)
        return Path(hf.hf_hub_download(repo, file, **how, **where))
    except hf.errors.LocalEntryNotFoundError:
        raise  # the network failed; it is an EntryNotFoundError all the same
    except hf.errors.EntryNotFoundError:
        return None


def _parts(name: str) -> tuple[str, str | None]:
    repo, _, revision = name.partition("@")
    return repo, revision or None


def _takes_calls(hub: str) -> bool:
    """Whether the hub, or the proxy on the way to it, can be connected to at all."""
    connected = threading.Event()

    def call():
        try:
            url, proxies = urlsplit(hub), getproxies()
            proxy = proxies.get(url.scheme) or proxies.get("all")
            if proxy and not proxy_bypass(url.hostname):
                url = urlsplit(proxy if "//" in proxy else f"http://{proxy}")
            port = url.port or {"http": 80, "https": 443}.get(url.scheme, 1080)
            socket.create_connection((url.hostname, port), _CALL_SECONDS).close()
        except (OSError, ValueError):
            return
        connected.set()

    # In a thread: looking a host up has no time limit of its own.
    caller = threading.Thread(target=call, daemon=True)
    caller.start()
    caller.join(_CALL_SECONDS)
    return connected.is_set()


def _wait_for_an_answer(name: str) -> None:
    """Ask once, without the retries that follow later; a slow hub is waited for."""
    from huggingface_hub import constants, errors, get_session, hf_hub_url
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

    repo, revision = _parts(name)
    hub, limit = constants.ENDPOINT, constants.HF_HUB_DOWNLOAD_TIMEOUT
    url = hf_hub_url(repo, "config.json", revision=revision, endpoint=hub)
    said = f"{hub} is slow to answer; waiting for it, up to {limit:.0f} s at a time."
    slow = threading.Timer(_CALL_SECONDS, print, [said])
    slow.start()
    try:
        answer = get_session().head(url, headers=build_hf_headers(), timeout=limit)
    finally:
        slow.cancel()
    try:
        hf_raise_for_status(answer)
    except errors.EntryNotFoundError:
        pass  # an answer: the model is there, and has no config.json


def _stopped(error: BaseException) -> str:
    """What stopped a download, and what to do, as the end of a sentence."""
    from huggingface_hub import constants, errors

    if isinstance(error, errors.LocalEntryNotFoundError) and error.__cause__:
        error = error.__cause__  # what really happened on the way
    if says := _REFUSED.get(type(error).__name__):
        return says
    number, cache = getattr(error, "errno", None), constants.HF_HUB_CACHE
    if number in (errno.ENOSPC, errno.EDQUOT):
        return f"has no room in {cache}: the disk is full; make room and load it again"
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"cannot be kept: {cache} is read-only; set HF_HOME to another folder"
    if "Timeout" in type(error).__name__:
        return (
            f"did not come: no answer for {constants.HF_HUB_DOWNLOAD_TIMEOUT:.0f} s; "
            "try again later, or set HF_HUB_DOWNLOAD_TIMEOUT to more seconds"
        )
    return (
        f"could not be fetched whole: {first_line(error)}; load it again, and "
        "the files that have come are kept"
    )
