"""Training the shipped model: resume, kills, several processes; and what it reached."""

import io
import json
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, GPT2LMHeadModel

from helpers import pretrain, stories

ROOT = Path(__file__).parent.parent
TINY = "--steps 8 --batch 4 --warmup 2 --save-every 2 --d-vocab 400".split()
TINY += "--d-model 32 --n-layers 1 --n-ctx 512 --tokenizer-stories 200".split()


def train(out, *more):
    """The losses of a tiny run."""
    return pretrain.train(pretrain.parse_arguments([*TINY, "--out", str(out), *more]))


@pytest.fixture(scope="module")
def curve(tmp_path_factory):
    """The losses of a run that nothing disturbs."""
    return train(tmp_path_factory.mktemp("whole"))


# ------------------------------------------------------------- the shipped model


@pytest.fixture(scope="module")
def shipped():
    """The model and the tokenizer in helpers/assets/stories."""
    model = GPT2LMHeadModel.from_pretrained(pretrain.SHIPPED, local_files_only=True)
    return model.eval(), pretrain.load_tokenizer(pretrain.SHIPPED)


def test_shipped_gap_to_the_floor(shipped):
    # 300 stories: the standard error is far below the distance to the bar.
    result = pretrain.evaluate_gap(*shipped, n=300)
    assert result.gap + 4 * result.error <= 0.02
    assert abs(result.loss - result.floor) < 0.05


def test_shipped_stories_are_valid(shipped):
    # A model that is right 97% of the time gets 17 or more of 200 wrong with
    # probability 1.3e-4, so a failure means that the bar of 97% is missed.
    texts = pretrain.sample_stories(*shipped, n=200)
    wrong = [stories.explain(text) for text in texts if not stories.valid(text)]
    assert len(wrong) <= 16, wrong
    assert len(set(texts)) > 190


def test_shipped_files():
    files = {path.name: path.stat().st_size for path in pretrain.SHIPPED.iterdir()}
    assert {"config.json", "model.safetensors"} <= set(files)
    assert {"tokenizer.json", "tokenizer_config.json"} <= set(files)
    assert sum(files.values()) <= 16e6
    config = json.loads((pretrain.SHIPPED / "config.json").read_text(encoding="utf-8"))
    assert config["activation_function"] == "gelu_new"


def test_tokenizer_encodes_any_text():
    tokenizer = AutoTokenizer.from_pretrained(pretrain.SHIPPED, local_files_only=True)
    for text in ("Once upon a time", " zażółć 🦆\n\t", "日本語", "<a>  b"):
        tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(tokens) == text and max(tokens) < len(tokenizer)
    end = tokenizer(pretrain.END, add_special_tokens=False)["input_ids"]
    assert end == [tokenizer.bos_token_id] == [tokenizer.eos_token_id]
    assert end == [tokenizer.pad_token_id] == [tokenizer.unk_token_id]
    # Nothing is added around a text, whichever way it is called.
    assert tokenizer("Hello")["input_ids"] == tokenizer.encode("Hello")


# ------------------------------------------------------------- batches


def test_encode_aligns_and_pads(shipped):
    tokenizer = shipped[1]
    tokens, targets = pretrain.encode(["Anna", "Anna had a ball."], tokenizer)
    end, short = tokenizer.eos_token_id, len(tokenizer("Anna")["input_ids"])
    assert tokens[:, 0].tolist() == [end, end]
    assert targets[0, short] == end
    assert (targets[0, short + 1 :] == pretrain.IGNORED).all()
    used = targets != pretrain.IGNORED
    assert (tokens[:, 1:][used[:, 1:]] == targets[:, :-1][used[:, 1:]]).all()


def test_padding_changes_no_loss(shipped):
    model, tokenizer = shipped
    texts = ["Anna was happy.", "One sunny day Tom went to the park and sat down."]
    with torch.no_grad():
        together = pretrain.summed_loss(model, *pretrain.encode(texts, tokenizer))
        each = [pretrain.encode([text], tokenizer) for text in texts]
        alone = [pretrain.summed_loss(model, *one) for one in each]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-5, atol=1e-4)


def test_learning_rate_rises_then_falls_to_zero():
    rates = [pretrain.learning_rate(step, 100, 1.0, 10) for step in range(101)]
    assert rates[9] == rates[10] == 1.0 and rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True) and rates[100] < 1e-9


# ------------------------------------------------------------- runs


def test_training_learns_and_saves(curve, tmp_path):
    assert len(curve) == 8 and curve[-1] < curve[0]
    assert train(tmp_path) == curve  # the same seed, the same curve
    model = GPT2LMHeadModel.from_pretrained(tmp_path)
    tied = model.transformer.wte.weight
    assert model.lm_head.weight is tied
    assert model.config.activation_function == "gelu_new"
    long = pretrain.sample_stories(model, pretrain.load_tokenizer(tmp_path), 3)
    assert len(long) == 3 and not any(map(stories.valid, long))


def test_stopped_run_goes_on_where_it_was(curve, tmp_path):
    assert train(tmp_path, "--seconds", "0") == curve[:1]
    assert train(tmp_path, "--resume") == curve


MOMENTS = ["torch.save", "os.fsync", "os.replace", "Path.unlink"]


@pytest.mark.parametrize("moment", MOMENTS)
def test_kill_in_the_middle_of_a_checkpoint(moment, curve, tmp_path, monkeypatch):
    # The third checkpoint dies half written, unsynced, not yet renamed, or not tidied.
    calls, save = [], torch.save

    def die(*arguments, **options):
        calls.append(moment)
        if len(calls) < 3:
            return real(*arguments, **options)
        if moment == "torch.save":
            arguments[1].write(b"half a checkpoint")
        raise KeyboardInterrupt

    owner, name = {
        "torch.save": (torch, "save"),
        "os.fsync": (os, "fsync"),
        "os.replace": (os, "replace"),
        "Path.unlink": (Path, "unlink"),
    }[moment]
    real = save if moment == "torch.save" else getattr(owner, name)
    if moment == "Path.unlink":
        calls += [moment] * 2  # the first file is removed after the third is written
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(owner, name, die)
        train(tmp_path)
    assert train(tmp_path, "--resume") == curve


def test_truncated_checkpoint_is_passed_over(curve, tmp_path, capsys):
    train(tmp_path)
    old, new = sorted((tmp_path / "checkpoints").glob("step_*.pt"))
    new.write_bytes(new.read_bytes()[:1000])
    assert train(tmp_path, "--resume") == curve
    said = capsys.readouterr().out
    assert f"{new.name} cannot be read" in said and "the one before" in said


def stop_in_the_middle(part, arguments, pipe):
    """Train; stop for ever within the second checkpoint, `part` of it in the file."""
    save, seen = torch.save, []

    def begin(state, file):
        seen.append(state)
        if len(seen) < 2:
            return save(state, file)
        whole = io.BytesIO()
        save(state, whole)
        file.write(whole.getvalue()[: int(part * whole.tell())])
        file.flush()
        pipe.send("in the middle")
        time.sleep(1000)

    torch.save = begin
    pretrain.main(arguments)


def test_ten_kills_in_the_middle_of_a_checkpoint(tmp_path, capsys):
    """The operating system ends the process; nothing of ours can tidy up."""
    longer = ["--steps", "12", "--save-every", "1"]
    curve = train(tmp_path / "whole", *longer)
    out, checkpoints = tmp_path / "killed", tmp_path / "killed" / "checkpoints"
    # Processes of their own, each a copy of one that has PyTorch imported already.
    method = {"forkserver", "spawn"} & set(multiprocessing.get_all_start_methods())
    context = multiprocessing.get_context(min(method))
    context.set_forkserver_preload(["torch", "transformers.models.gpt2.modeling_gpt2"])
    arguments = [*TINY, *longer, "--out", str(out), "--resume"]
    for kills in range(1, 11):
        here, there = context.Pipe(duplex=False)
        process = context.Process(
            target=stop_in_the_middle, args=((kills - 1) / 10, arguments, there)
        )
        process.start()
        there.close()  # so that a process that ends by itself ends the waiting too
        assert here.recv() == "in the middle"
        process.kill()
        process.join()
        assert (checkpoints / "unfinished.tmp").exists()
        assert pretrain.load_checkpoint(checkpoints)["step"] == kills
    assert train(out, "--resume", *longer) == curve
    assert "cannot be read" not in capsys.readouterr().out


@pytest.mark.slow
def test_two_processes_give_the_same_curve(curve, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", "-m", "helpers.pretrain", *TINY]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [*command, "--out", str(tmp_path)], cwd=ROOT, env=environment, check=True
    )
    both = json.loads((tmp_path / "curve.json").read_text(encoding="utf-8"))
    # The same stories in another order of summing: rounding alone may differ.
    assert both == pytest.approx(curve, abs=2e-4)
