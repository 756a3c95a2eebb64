"""Notebook 08's filters and cache, 09's schedule and own text: ends of their ranges."""

import pytest
import torch
from transformers.generation.logits_process import (
    RepetitionPenaltyLogitsProcessor,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

import cells
from helpers import Config, generation, pretrain, training
from notebook_tools import complete

LOGITS = torch.randn(3, 1017, generator=torch.Generator().manual_seed(0)) * 4
CFG = Config(d_model=8, n_heads=2, d_head=4, d_mlp=8, n_layers=2, d_vocab=9, n_ctx=12)


@pytest.mark.parametrize("p", [0.0, 1e-12, 0.5, 1.0])
def test_top_p_is_transformers(p):
    assert torch.equal(generation.top_p(LOGITS, p), TopPLogitsWarper(p)(None, LOGITS))


@pytest.mark.parametrize("k", [1, 1017, 5000])
def test_top_k_is_transformers(k):
    assert torch.equal(generation.top_k(LOGITS, k), TopKLogitsWarper(k)(None, LOGITS))


@pytest.mark.parametrize("length", [0, 1, 4])
@pytest.mark.parametrize("penalty", [0.5, 1.0])
def test_repetition_penalty_is_transformers(penalty, length):
    tokens = torch.arange(3 * length).view(3, length)
    theirs = RepetitionPenaltyLogitsProcessor(penalty)(tokens, LOGITS)
    ours = generation.repetition_penalty(LOGITS, tokens, penalty)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_what_has_no_meaning_is_refused_in_a_sentence():
    with pytest.raises(ValueError, match="k must be at least 1"):
        generation.top_k(LOGITS, 0)
    with pytest.raises(ValueError, match="penalty must be above 0"):
        generation.repetition_penalty(LOGITS, torch.zeros(3, 1, dtype=torch.long), 0)
    with pytest.raises(ValueError, match="temperature must be above 0"):
        generation.apply_temperature(LOGITS, 0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_the_cache_has_the_models_dtype(dtype):
    model = training.new_model(CFG, cls=generation.CachedTransformer).to(dtype)
    plain = generation.DemoTransformer(CFG).to(dtype)
    plain.load_state_dict(model.state_dict())
    tokens = torch.tensor([[1], [2]])
    cached = generation.greedy_cached(model, tokens, 5)
    assert torch.equal(cached, generation.greedy(plain, tokens, 5))


@pytest.mark.parametrize("warmup", [0, 1, 10])
def test_the_schedule_with_no_warm_up_and_nothing_else(warmup):
    rates = [training.learning_rate(s, 10, 2.0, 0.1, warmup) for s in range(10)]
    assert rates == sorted(rates, reverse=warmup < 10)
    assert rates[-1] == pytest.approx(2.0 if warmup == 10 else 0.1)


@pytest.mark.filterwarnings("error")
def test_stories_are_written_without_a_warning():
    """transformers 5.24 warns of an argument's old name."""
    tokenizer = pretrain.load_tokenizer(pretrain.SHIPPED)
    sizes = vars(CFG) | {"d_vocab": len(tokenizer)}
    model = training.to_transformers(training.new_model(Config(**sizes)), 0)
    assert len(pretrain.sample_stories(model, tokenizer, 2)) == 2


def own_text(path) -> dict:
    """Notebook 09's cells that read a person's text, train on it and write."""
    notebook = complete("09_training")
    wanted = [f"own-text-{name}" for name in ("read", "batch", "train", "result")]
    wanted += ["imports", "run-loop"]
    notebook.cells = [cell for cell in notebook.cells if cell.id in wanted]
    names = ("learning_rate", "parameter_groups", "batch_loss", "train_step")
    names = {name: getattr(training, name) for name in names}

    def mine(cell):
        return cell.source.replace("MY_TEXT = None", f"MY_TEXT = {str(path)!r}")

    return cells.run(notebook, "09", mine, Config=Config, FULL=False, STEPS=2, **names)


def test_a_short_text_of_ones_own(tmp_path, capsys):
    line = "The wind is in the willow tree, the rain is on the sea.\n"
    path = tmp_path / "poem.txt"
    path.write_text("\ufeff" + line * 27, encoding="utf-8")
    assert own_text(path)["text"] == line * 27
    said = capsys.readouterr().out
    assert "A short text" in said and "held-out loss" in said


@pytest.mark.parametrize(
    "content, told",
    [(b"Sch\xf6n", "not UTF-8"), (b"a few words", "too short"), (None, "check the")],
)
def test_a_text_that_cannot_be_used_is_said_before_the_training(
    content, told, tmp_path
):
    path = tmp_path / "mine.txt"
    if content:
        path.write_bytes(content)
    with pytest.raises(AssertionError, match=f"own-text-read: ValueError: .*{told}"):
        own_text(path)
