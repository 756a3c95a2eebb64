"""`load_reference`: what it loads, and what it says when it cannot."""

import json
import os
import subprocess
import sys
import textwrap
from logging import Handler, getLogger
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from huggingface_hub.utils import are_progress_bars_disabled
from safetensors.torch import load_file, save_file
from transformers import (
    GPT2Config,
    GPT2Model,
    GPTNeoXConfig,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging

from helpers import load_reference
from helpers import reference as module
from helpers.config import Config
from helpers.reference import ModelNotLoaded, Reference, current_reference
from random_gpt2 import START, byte_tokenizer, save, stirred

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def nothing_loaded(monkeypatch):
    """Each test begins like a fresh kernel, and leaves others' references alone."""
    monkeypatch.setattr(module, "_loaded", {})
    monkeypatch.setattr(module, "_current", {})
    monkeypatch.delenv("COURSE_REFERENCE", raising=False)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A small GPT-2 with its tokenizer, as somebody else would have saved it."""
    return save(tmp_path / "their_gpt2")


def sentence(error) -> str:
    """The message, after a look at its form: one line, and no traceback of ours."""
    message = str(error.value)
    assert "\n" not in message and message.endswith(".") and len(message) < 400
    assert error.value._render_traceback_() == [f"ModelNotLoaded: {message}"]
    return message


def change(file: Path, **values) -> None:
    """Set fields of a JSON file; None takes one out."""
    content = json.loads(file.read_text(encoding="utf-8")) | values
    content = {key: value for key, value in content.items() if value is not None}
    file.write_text(json.dumps(content), encoding="utf-8")


# ---------------------------------------------------------------- what it loads


def test_the_stories_model_needs_no_network(tmp_path):
    """In a process that reaches nothing but itself, with an empty cache."""
    log = tmp_path / "attempts"
    code = """
        from helpers import load_reference
        reference = load_reference()
        tokens = reference.to_tokens("Once upon a time")
        logits, cache = reference.run_with_cache(tokens)
        print(reference.name, logits.isfinite().all().item())
    """
    run = fresh_process(code, tmp_path, NO_NETWORK_LOG=str(log))
    assert run.stdout.split() == ["stories", "True"], run.stderr
    assert not log.exists(), log.read_text(encoding="utf-8")


def test_a_folder_with_a_gpt2_of_another_size(folder):
    reference = load_reference(str(folder))
    assert reference.cfg == Config(
        d_model=24,
        layer_norm_eps=1e-3,
        d_vocab=300,
        n_ctx=15,
        d_head=12,
        d_mlp=36,
        n_heads=2,
        n_layers=1,
    )
    assert reference.name == str(folder) and reference.device.type == "cpu"
    assert not reference.model.training
    tokens = reference.to_tokens("Hello")
    assert tokens.tolist()[0][0] == 0 and tokens.shape == (1, 6)
    assert reference.to_str_tokens("Hello") == [START, *"Hello"]
    assert reference.to_str_tokens("Hello", prepend_bos=False) == [*"Hello"]
    assert reference.to_str_tokens(tokens) == [START, *"Hello"]
    logits, cache = reference.run_with_cache(tokens)
    assert logits.shape == (1, 6, 300)
    assert "1 layers" in repr(reference) or "1 layer" in repr(reference)


def test_a_gpt2_without_its_head_file(tmp_path):
    """The hub's gpt2 was saved as a GPT2Model: no head, no `transformer.` in names."""
    whole = stirred(**{**dict(n_embd=24, n_head=2, n_layer=1), **SMALL_VOCABULARY})
    whole.transformer.save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    tokens = torch.tensor([[0, 5, 9]])
    logits, _ = load_reference(str(tmp_path)).run_with_cache(tokens)
    with torch.no_grad():
        torch.testing.assert_close(logits, whole(tokens).logits)


SMALL_VOCABULARY = dict(vocab_size=300, n_positions=15)


def test_the_environment_overrides_the_name(folder, monkeypatch):
    monkeypatch.setenv("COURSE_REFERENCE", str(folder))
    reference = load_reference("stories")
    assert reference.name == str(folder) and reference.cfg.d_vocab == 300
    assert current_reference() is reference
    monkeypatch.setenv("COURSE_REFERENCE", "")
    assert load_reference("stories").name == "stories"


def test_the_one_loaded_last_is_current(folder):
    assert current_reference().name == "stories"  # nothing was loaded before
    theirs = load_reference(str(folder))
    assert current_reference() is theirs
    stories = load_reference("stories")
    assert current_reference() is stories
    assert load_reference(str(folder)) is theirs  # loaded once, kept
    assert current_reference() is theirs


def test_loading_says_nothing(folder, capfd):
    """Not about what old checkpoints, or those with a second head, have too much."""
    file = folder / "model.safetensors"
    extra = {
        "transformer.h.0.attn.masked_bias": torch.tensor(-1e4),
        "transformer.h.0.attn.bias": torch.ones(1, 1, 15, 15).tril(),
        "score.weight": torch.zeros(2, 24),
    }
    save_file(load_file(file) | extra, file, metadata={"format": "pt"})
    records, level = [], logging.get_verbosity()
    handler = Handler()  # transformers' own writes past what pytest captures
    handler.emit = records.append
    getLogger("transformers").addHandler(handler)
    logging.enable_progress_bar()  # and huggingface_hub's, which a download shows
    capfd.readouterr()
    load_reference(str(folder)).to_tokens("Hello")
    getLogger("transformers").removeHandler(handler)
    assert capfd.readouterr() == ("", "") and records == []
    assert not are_progress_bars_disabled() and logging.get_verbosity() == level


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_becomes_float32(folder, dtype):
    file = folder / "model.safetensors"
    halves = {name: p.to(dtype) for name, p in load_file(file).items()}
    save_file(halves, file, metadata={"format": "pt"})
    change(folder / "config.json", dtype=str(dtype)[6:], torch_dtype=str(dtype)[6:])
    reference = load_reference(str(folder))
    weights = reference.state_dict()
    assert {p.dtype for p in weights.values()} == {torch.float32}
    torch.testing.assert_close(
        weights["embed.W_E"], halves["transformer.wte.weight"].float()
    )


def test_weights_as_older_versions_of_transformers_kept_them(folder):
    file = folder / "model.safetensors"
    torch.save(load_file(file), folder / "pytorch_model.bin")
    file.unlink()
    assert load_reference(str(folder)).cfg.d_vocab == 300


def test_a_folder_is_found_however_it_is_written(folder, monkeypatch):
    for variable in ("HOME", "USERPROFILE"):  # POSIX, Windows
        monkeypatch.setenv(variable, str(folder.parent))
    for name in (f"~/{folder.name}/", f"{folder}{os.sep}", folder):
        assert load_reference(name).cfg.n_ctx == 15


# ---------------------------------------------------------------- no network


def fresh_process(code: str, home: Path, **environment) -> subprocess.CompletedProcess:
    """Python with the network blocked and nothing in its cache."""
    inherited = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT / "tests/no_network"), str(ROOT)]),
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(home / "empty_cache"),
        "PYTHONIOENCODING": "utf-8",
    }
    for name in ("COURSE_REFERENCE", "HF_ENDPOINT", "HTTPS_PROXY", "https_proxy"):
        inherited.pop(name, None)
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=inherited | environment,
        cwd=home,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
    )


def test_offline_by_choice(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelNotLoaded) as error:
        load_reference("somebody/a-model-nobody-has")
    assert "somebody/a-model-nobody-has" in sentence(error)


# ---------------------------------------------------------------- wrong names and files


@pytest.mark.parametrize(
    "name",
    [
        "../no/such/folder",
        "~nobody/gpt2",
        "C:/models",
        "two words",
        "gpt2/",
        "x" * 150,
    ],
)
def test_a_name_that_is_none(name):
    with pytest.raises(ModelNotLoaded) as error:
        load_reference(name)
    assert name in sentence(error)


def test_a_folder_without_a_config(tmp_path):
    with pytest.raises(ModelNotLoaded) as error:
        load_reference(str(tmp_path))
    assert "no config.json" in sentence(error)


def test_weights_that_are_cut_off(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelNotLoaded) as error:
        load_reference(str(folder))
    assert "could not be loaded" in sentence(error)


def test_no_weights_at_all(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelNotLoaded) as error:
        load_reference(str(folder))
    assert "could not be loaded" in sentence(error)


def test_some_weights_are_missing(folder):
    """transformers fills them with random numbers and only warns."""
    file = folder / "model.safetensors"
    weights = load_file(file)
    del weights["transformer.h.0.mlp.c_fc.weight"]
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(ModelNotLoaded) as error:
        load_reference(str(folder))
    assert "h.0.mlp.c_fc.weight" in sentence(error)


def test_weights_of_another_size(folder):
    change(folder / "config.json", n_inner=40)
    with pytest.raises(ModelNotLoaded) as error:
        load_reference(str(folder))
    assert "h.0.mlp" in sentence(error) and "another size" in sentence(error)


def test_another_kind_of_model(tmp_path):
    GPTNeoXConfig(num_hidden_layers=1).save_pretrained(tmp_path)
    with pytest.raises(ModelNotLoaded) as error:
        load_reference(str(tmp_path))
    assert "'gpt_neox'" in sentence(error) and "GPT-2" in sentence(error)


@pytest.mark.parametrize(
    "field, value",
    [
        ("activation_function", "relu"),
        ("activation_function", "gelu"),
        ("activation_function", "nobody_knows"),
        ("scale_attn_weights", False),
        ("scale_attn_by_inverse_layer_idx", True),
        ("add_cross_attention", True),
    ],
)
def test_a_gpt2_that_computes_otherwise(tmp_path, field, value):
    GPT2Config(n_embd=8, n_head=2, n_layer=1, **{field: value}).save_pretrained(
        tmp_path
    )
    with pytest.raises(ModelNotLoaded) as error:
        load_reference(str(tmp_path))
    assert field in sentence(error)


@pytest.mark.parametrize("name", ["gelu_pytorch_tanh", "gelu_fast"])
def test_another_name_of_the_same_activation(folder, name):
    change(folder / "config.json", activation_function=name)
    reference = load_reference(str(folder))
    assert "mlp" in str(reference.run_with_cache(torch.tensor([[0, 5, 9]]))[1].keys())


def test_no_tokenizer(folder):
    """transformers 5 makes an empty one in silence; version 4 fails."""
    for file in folder.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ModelNotLoaded) as error:
        load_reference(str(folder))
    assert "tokenizer" in sentence(error)


def test_a_tokenizer_that_is_too_large(tmp_path):
    save(tmp_path, vocab_size=200)
    with pytest.raises(ModelNotLoaded) as error:
        load_reference(str(tmp_path))
    assert "257" in sentence(error) and "200" in sentence(error)


def padded(special: bool) -> PreTrainedTokenizerFast:
    """One token more than the tokens of a model that has 257."""
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens(["[PAD]"], special_tokens=special)
    return tokenizer


def test_a_padding_token_may_lie_beyond_the_table(tmp_path):
    """Many fine-tuned GPT-2s are saved so; no text is encoded to it."""
    save(tmp_path, vocab_size=257)
    padded(special=True).save_pretrained(tmp_path)
    reference = load_reference(str(tmp_path))
    assert reference.to_str_tokens("Hello", prepend_bos=False) == [*"Hello"]
    with pytest.raises(ValueError, match=r"'\[PAD\]'.*'s 257"):
        reference.to_tokens("Hello[PAD]")


def test_a_word_beyond_the_table(tmp_path):
    save(tmp_path, vocab_size=257)
    padded(special=False).save_pretrained(tmp_path)
    with pytest.raises(ModelNotLoaded, match="258 tokens and the model only 257"):
        load_reference(str(tmp_path))


def test_half_a_tokenizer(folder):
    """Without merges.txt, GPT-2's own would spell every word in single letters."""
    vocabulary = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    (folder / "vocab.json").write_text(json.dumps(vocabulary["model"]["vocab"]))
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelNotLoaded, match="tokenizer"):
        load_reference(str(folder))


def test_a_tokenizer_that_is_smaller_than_the_model(tmp_path):
    save(tmp_path)
    byte_tokenizer(most=200).save_pretrained(tmp_path)
    reference = load_reference(str(tmp_path))
    assert len(reference.tokenizer) < reference.cfg.d_vocab


def test_a_tokenizer_without_a_start_token(folder):
    change(folder / "tokenizer_config.json", bos_token=None)
    for extra in folder.glob("special_tokens_map.json"):  # transformers 4 writes it
        change(extra, bos_token=None)
    with pytest.raises(ModelNotLoaded) as error:
        load_reference(str(folder))
    assert "start token" in sentence(error)


def test_a_broken_model_can_be_mended_and_loaded_again(folder):
    """What failed is not remembered, in one kernel."""
    change(folder / "config.json", activation_function="relu")
    with pytest.raises(ModelNotLoaded):
        load_reference(str(folder))
    change(folder / "config.json", activation_function="gelu_new")
    assert load_reference(str(folder)).cfg.n_layers == 1


# ---------------------------------------------------------------- wrong use


@pytest.fixture(scope="module")
def small() -> Reference:
    model = stirred(n_embd=24, n_head=2, n_layer=2, vocab_size=257, n_positions=15)
    return Reference(model, byte_tokenizer())


def test_a_prompt_that_is_too_long(small):
    tokens = torch.zeros(1, 16, dtype=torch.long)
    with pytest.raises(ValueError, match=r"16 tokens .*n_ctx = 15"):
        small.run_with_cache(tokens)
    small.run_with_cache(tokens[:, :15])


@pytest.mark.parametrize("shape", [(4,), (1, 4, 1), ()])
def test_tokens_with_the_wrong_axes(small, shape):
    with pytest.raises(ValueError, match=r"\[batch, position\]"):
        small.run_with_cache(torch.zeros(shape, dtype=torch.long))


def test_an_empty_text(small):
    assert small.to_tokens("").tolist() == [[small.tokenizer.bos_token_id]]
    with pytest.raises(ValueError, match="empty text"):
        small.to_tokens("", prepend_bos=False)


def test_texts_of_different_lengths(small):
    assert small.to_tokens(["ab", "cd"]).shape == (2, 3)
    with pytest.raises(ValueError, match="3, 4 tokens"):
        small.to_tokens(["ab", "abc"])


def test_no_hook_is_left_behind(small):
    def hooks():
        return sum(len(m._forward_hooks) for m in small.model.modules())

    assert hooks() == 0
    small.run_with_cache(torch.tensor([[1, 2, 3]]))
    assert hooks() == 0
    with pytest.raises(IndexError):
        small.run_with_cache(torch.tensor([[1, 2, 300]]))  # no such token
    assert hooks() == 0


def test_a_run_needs_no_gradient_and_keeps_none(small):
    logits, cache = small.run_with_cache(torch.tensor([[1, 2, 3]]))
    assert not any(t.requires_grad for t in [logits, *cache.values()])
    assert isinstance(small.model.transformer, GPT2Model)
    assert all(p.grad is None for p in small.model.parameters())
