"""helpers/training.py: the same code as notebook 09, and what its tools promise."""

import ast
import dataclasses
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from transformers import GPT2LMHeadModel

from helpers import Config, editions, heads, pretrain, stories, training

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "09_training.ipynb"
CFG = Config(
    d_model=16, n_heads=2, d_head=8, d_mlp=24, n_layers=2, d_vocab=1100, n_ctx=160
)


@pytest.fixture(scope="module")
def tokenizer():
    return pretrain.load_tokenizer(pretrain.SHIPPED)


def definitions(source: str) -> dict[str, str]:
    kinds = (ast.FunctionDef, ast.ClassDef)
    found = [node for node in ast.parse(source).body if isinstance(node, kinds)]
    return {node.name: ast.unparse(node) for node in found}


def test_notebook_and_helpers_have_the_same_code():
    theirs = definitions(Path(training.__file__).read_text(encoding="utf-8"))
    shared = set()
    for cell in editions.read(NOTEBOOK).cells:
        if cell.id.endswith("-exercise"):
            for name, code in definitions(cell.source).items():
                assert code == theirs[name], name
                shared.add(name)
    assert len(shared) == 6


def notebooks_fast_transformer():
    """The fused classes that notebook 09 shows."""
    cells = {cell.id: cell.source for cell in editions.read(NOTEBOOK).cells}
    names = dict(vars(training))
    exec(cells["fast-given"], names)
    return names["FastTransformer"]


@pytest.mark.parametrize("size", [(2, 7), (1, CFG.n_ctx)])
def test_fast_classes_have_the_same_logits_and_gradients(size):
    slow = training.new_model(CFG).double()
    fast = notebooks_fast_transformer()(CFG).double()
    for p in slow.parameters():  # biases and gains too
        if p.requires_grad:
            torch.nn.init.normal_(p, std=0.3)
    fast.load_state_dict(slow.state_dict())
    tokens = torch.randint(CFG.d_vocab, size)
    found = []
    for model in (slow, fast):
        logits = model(tokens)
        logits.log_softmax(-1)[..., 0].sum().backward()
        gradients = {name: p.grad for name, p in model.named_parameters()}
        found.append({"logits": logits, **gradients})
    assert found[0].keys() == found[1].keys()
    assert [name for name, grad in found[1].items() if grad is None] == ["unembed.b_U"]
    for name in found[0].keys() - {"unembed.b_U"}:
        torch.testing.assert_close(found[0][name], found[1][name], msg=name)


@pytest.fixture(scope="module")
def loop():
    """Notebook 09's own `Run` and `train`."""
    cells = {cell.id: cell.source for cell in editions.read(NOTEBOOK).cells}
    names = {**vars(training), "field": dataclasses.field}
    exec(cells["run-loop"], names)
    return SimpleNamespace(Run=names["Run"], train=names["train"])


def new_run(loop):
    model = training.new_model(CFG)
    groups = training.parameter_groups(model, 0.01)
    return loop.Run(model, torch.optim.AdamW(groups))


def go(loop, run, tokenizer, steps=8, look=None):
    loop.train(
        run,
        steps,
        batch_at=lambda step: training.encode(
            training.write(f"t/{step}", 2), tokenizer
        ),
        rate_at=lambda step: training.learning_rate(step, 8, 1e-2, 1e-4, 2),
        look=look,
        look_at=range(1, steps),
    )


def test_interrupting_keeps_what_was_learned_and_running_again_goes_on(
    loop, tokenizer, capsys
):
    whole, broken = new_run(loop), new_run(loop)
    go(loop, whole, tokenizer)

    def stop(run):
        if run.step == 3:
            raise KeyboardInterrupt

    go(loop, broken, tokenizer, look=stop)
    assert "Stopped after 3 steps" in capsys.readouterr().out
    assert broken.step == len(broken.losses) == 3
    go(loop, broken, tokenizer)
    assert broken.losses == whole.losses
    for p, q in zip(broken.model.parameters(), whole.model.parameters()):
        assert torch.equal(p, q)


def test_saved_for_transformers_it_gives_the_same_logits(tokenizer, tmp_path):
    model = training.new_model(CFG)
    for p in model.parameters():  # biases and gains too
        if p.requires_grad:
            torch.nn.init.normal_(p, std=0.3)
    training.to_transformers(model, 0).save_pretrained(tmp_path)
    loaded = GPT2LMHeadModel.from_pretrained(tmp_path).eval()
    assert not loaded.config.tie_word_embeddings
    tokens, _ = training.encode(training.write("saved", 3), tokenizer)
    with torch.no_grad():
        torch.testing.assert_close(
            loaded(input_ids=tokens).logits, model(tokens), rtol=1e-4, atol=1e-4
        )
    model.unembed.b_U.data += 1
    with pytest.raises(ValueError, match="no bias"):
        training.to_transformers(model, 0)


def test_baselines_stand_in_order_above_the_floor(tokenizer):
    held_out = training.HeldOut.of_stories(tokenizer, n=64, size=32)
    levels = training.baselines(tokenizer, held_out, n=500)
    floor = stories.entropy_per_token(tokenizer)
    assert levels["uniform"] == math.log(len(tokenizer))
    assert list(levels.values()) == sorted(levels.values(), reverse=True)
    assert list(levels)[-1] == "token + position"
    assert levels["token + position"] > 2 * floor
    assert abs(held_out.own - floor) < 0.05
    new = training.new_model(CFG)
    assert abs(held_out.loss(new) - math.log(CFG.d_vocab)) < 0.2


def test_a_new_model_does_not_depend_on_what_the_class_does(tokenizer):
    torch.manual_seed(1)
    a = training.new_model(CFG)
    torch.manual_seed(2)
    b = training.new_model(CFG)
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters()))
    assert not a.unembed.b_U.requires_grad


def test_look_back_scores_find_a_head_that_copies(monkeypatch):
    tokens = torch.tensor([[0, 1, 2, 3, 1, 2, 5]])
    targets = torch.tensor([[1, 2, 3, 1, 2, 5, 0]])  # 0: the end, which is no word
    pattern = torch.zeros(1, 1, 2, 7, 7)
    pattern[..., 0] = 1.0  # both heads rest on the start,
    pattern[0, 0, 1, 3] = torch.eye(7)[1]  # one looks at what comes next
    pattern[0, 0, 1, 4] = torch.eye(7)[2]
    monkeypatch.setattr(heads, "attention_patterns", lambda m, t: pattern)
    words = torch.tensor([1, 2, 3, 5])
    scores = heads.look_back_scores(training.new_model(CFG), tokens, targets, words)
    assert scores.tolist() == [[0.0, 1.0]]


def test_words_to_repeat_are_single_tokens(tokenizer):
    words = tokenizer.convert_ids_to_tokens(heads.words_to_repeat(tokenizer))
    assert {"ĠAnna", "ĠTom", "Ġred", "Ġball", "Ġhat", "Ġkitten", "Ġuncle"} <= set(words)
    assert "Ġ" not in words


def test_a_head_that_is_switched_off_writes_nothing(tokenizer):
    model = training.new_model(CFG)
    without = heads.switched_off(model, [(1, 0)])
    tokens, _ = training.encode(training.write("off", 2), tokenizer)
    written = []
    for each in (model, without):
        attn = each.get_submodule("blocks.1.attn")
        attn.register_forward_hook(lambda _, args, out: written.append(out))
        each(tokens)
    z = torch.zeros(CFG.n_heads, CFG.d_head, CFG.d_model)
    z[1] = model.blocks[1].attn.W_O[1].detach()
    model.blocks[1].attn.W_O.data.copy_(z)  # the other head alone
    model(tokens)
    assert torch.equal(written[1], written[2])
    assert not torch.equal(written[0], written[1])


def test_a_tokenizer_of_ones_own_encodes_any_text():
    own = training.train_tokenizer(training.course_prose()[:20_000], d_vocab=300)
    assert own.get_vocab_size() == 300
    for text in ("the cat", "Größe ✓ 中文\n"):
        assert own.decode(own.encode(text).ids) == text
