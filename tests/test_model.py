"""The course's GPT-2 against transformers': logits, and everything on the way there."""

import pytest
import torch

from helpers.loading import course_state_dict
from helpers.model import DemoTransformer
from helpers.reference import Reference, load_reference
from random_gpt2 import SIZES, stirred

# How far logits may be apart, as a share of the largest one. float32 keeps 7 digits
# of each number, float64 keeps 16; sums over thousands of terms cost both a few.
FLOAT32, FLOAT64 = 1e-4, 1e-9
REPEATED = 1e-5  # the same float32 run twice; sums may be taken in another order


def ours(reference: Reference) -> DemoTransformer:
    """The course's model with the reference's weights, in its precision."""
    with torch.device("meta"):  # no time spent on weights that are replaced anyway
        model = DemoTransformer(reference.cfg)
    model.load_state_dict(reference.state_dict(), strict=True, assign=True)
    return model.eval()


def worst(mine: torch.Tensor, theirs: torch.Tensor) -> float:
    """The largest difference, as a share of the largest value."""
    assert mine.shape == theirs.shape and mine.dtype == theirs.dtype
    return ((mine - theirs).abs().max() / theirs.abs().max()).item()


def tokens_for(reference: Reference, batch: int, position: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(reference.cfg.d_vocab, (batch, position), generator=generator)


@torch.no_grad()
def check_logits(reference: Reference, tokens: torch.Tensor) -> None:
    """Logits in both precisions; leaves the reference's model in float64."""
    for dtype, most in ((torch.float32, FLOAT32), (torch.float64, FLOAT64)):
        reference.model.to(dtype)
        theirs = reference.model(tokens).logits
        assert theirs.dtype == dtype
        assert worst(ours(reference)(tokens), theirs) <= most


@pytest.fixture(params=[*SIZES, "untied head"])
def small(request) -> Reference:
    if request.param == "untied head":
        sizes = SIZES["wide heads"] | {"tie_word_embeddings": False}
    else:
        sizes = SIZES[request.param]
    return Reference(stirred(**sizes), name=request.param)


@pytest.mark.parametrize("batch", [1, 2])
def test_logits_on_stirred_configurations(small, batch):
    for position in (1, 7, small.cfg.n_ctx):
        check_logits(small, tokens_for(small, batch, position))


def test_logits_on_the_stories_model():
    shared = load_reference("stories")
    reference = Reference(shared.model, shared.tokenizer, shared.name)
    text = 'Once upon a time there was a little dog. "Hello!" said the dog.'
    tokens = reference.to_tokens([text, text])
    tokens[1] = tokens[1].flip(0)
    try:
        check_logits(reference, tokens)
        full = tokens_for(reference, 1, reference.cfg.n_ctx)
        check_logits(reference, full)
    finally:
        shared.model.to(torch.float32)


@pytest.mark.full_size
def test_logits_on_gpt2_at_full_size():
    reference = Reference(stirred(), name="GPT-2, random weights")
    model = reference.model
    assert sum(p.numel() for p in model.parameters()) == 124_439_808
    check_logits(reference, tokens_for(reference, 2, 24))


def test_parameters_of_gpt2_add_up():
    from helpers import Config

    with torch.device("meta"):  # shapes alone, no memory
        model = DemoTransformer(Config())
    head = sum(p.numel() for p in model.unembed.parameters())
    total = sum(p.numel() for p in model.parameters())
    assert total == 163_087_441
    assert total - head == 124_439_808  # with the head tied, transformers' count


def test_gradients_are_transformers_own(small):
    """Of a loss over all positions, for every parameter that both have apart."""
    small.model.to(torch.float64)
    tokens = tokens_for(small, 2, 7)
    mine = ours(small)
    mine(tokens).logsumexp(-1).sum().backward()
    small.model(tokens).logits.logsumexp(-1).sum().backward()
    theirs = {name: p.grad for name, p in small.model.named_parameters()}
    tied = small.model.config.tie_word_embeddings
    W_U, W_E = mine.unembed.W_U.grad, mine.embed.W_E.grad
    # where the head is the embedding, its gradient is the sum of both uses
    expected = {
        "transformer.wte.weight": W_E + W_U.T if tied else W_E,
        "transformer.wpe.weight": mine.pos_embed.W_pos.grad,
        "transformer.ln_f.weight": mine.ln_final.w.grad,
        "transformer.ln_f.bias": mine.ln_final.b.grad,
    }
    for i, block in enumerate(mine.blocks):
        at = f"transformer.h.{i}"
        expected |= {
            f"{at}.ln_1.weight": block.ln1.w.grad,
            f"{at}.ln_2.bias": block.ln2.b.grad,
            f"{at}.attn.c_proj.weight": block.attn.W_O.grad.flatten(0, 1),
            f"{at}.attn.c_proj.bias": block.attn.b_O.grad,
            f"{at}.mlp.c_fc.weight": block.mlp.W_in.grad,
            f"{at}.mlp.c_proj.bias": block.mlp.b_out.grad,
        }
    for name, gradient in expected.items():
        assert worst(gradient, theirs[name]) <= FLOAT64, name


# ---------------------------------------------------------------- activations


@pytest.fixture(scope="module", params=["stories", *SIZES])
def activations(request):
    """A run with its cache, hooks of our own on that run, and transformers' word."""
    if request.param == "stories":
        reference = load_reference("stories")
    else:
        reference = Reference(stirred(**SIZES[request.param]))
    tokens = tokens_for(reference, 2, 7)
    seen = {}
    parts = dict(reference.model.transformer.named_modules())
    del parts[""]  # the whole, which returns no tensor
    names = {module: name for name, module in parts.items()}

    def note(module, args, output):
        output = output[0] if isinstance(output, tuple) else output
        given = args[0].clone() if args else None
        seen[names[module]] = given, output.clone()

    handles = [m.register_forward_hook(note) for m in parts.values()]
    logits, cache = reference.run_with_cache(tokens)
    for handle in handles:
        handle.remove()
    with torch.no_grad():  # a second run: equal up to rounding
        out = reference.model(tokens, output_hidden_states=True, output_attentions=True)
    return reference, tokens, out, seen, logits, cache


def test_hidden_states_and_attentions_are_transformers_own(activations):
    reference, _, out, _, logits, cache = activations
    n_layers = reference.cfg.n_layers
    assert worst(logits, out.logits) <= REPEATED
    assert len(out.hidden_states) == n_layers + 1 and len(out.attentions) == n_layers
    for i in range(n_layers):
        pre, pattern = out.hidden_states[i], out.attentions[i]
        assert worst(cache[f"blocks.{i}.hook_resid_pre"], pre) <= REPEATED
        assert worst(cache[f"blocks.{i}.attn.hook_pattern"], pattern) <= REPEATED
        if i:
            assert worst(cache[f"blocks.{i - 1}.hook_resid_post"], pre) <= REPEATED
    # the last one of transformers' hidden states is after the final LayerNorm
    final = cache["ln_final.hook_normalized"]
    assert worst(final, out.hidden_states[-1]) <= REPEATED


def test_module_outputs_are_transformers_own(activations):
    reference, tokens, _, seen, _, cache = activations
    cfg = reference.cfg
    batch, position = tokens.shape
    heads = (batch, position, cfg.n_heads, cfg.d_head)
    given = {name: pair[0] for name, pair in seen.items()}
    made = {name: pair[1] for name, pair in seen.items()}
    expected = {
        "hook_embed": made["wte"],
        "hook_pos_embed": made["wpe"].expand(batch, -1, -1),
        "ln_final.hook_normalized": made["ln_f"],
    }
    for i in range(cfg.n_layers):
        hf, block = f"h.{i}", f"blocks.{i}"
        q, k, v = made[f"{hf}.attn.c_attn"].split(cfg.d_model, dim=-1)
        expected |= {
            f"{block}.ln1.hook_normalized": made[f"{hf}.ln_1"],
            f"{block}.attn.hook_q": q.reshape(heads),
            f"{block}.attn.hook_k": k.reshape(heads),
            f"{block}.attn.hook_v": v.reshape(heads),
            f"{block}.attn.hook_z": given[f"{hf}.attn.c_proj"].reshape(heads),
            f"{block}.hook_attn_out": made[f"{hf}.attn"],
            f"{block}.hook_resid_pre": given[f"{hf}.ln_1"],
            f"{block}.hook_resid_mid": given[f"{hf}.ln_2"],
            f"{block}.ln2.hook_normalized": made[f"{hf}.ln_2"],
            f"{block}.mlp.hook_pre": made[f"{hf}.mlp.c_fc"],
            f"{block}.mlp.hook_post": made[f"{hf}.mlp.act"],
            f"{block}.hook_mlp_out": made[f"{hf}.mlp"],
            f"{block}.hook_resid_post": made[hf],
        }
    for name, value in expected.items():
        assert torch.equal(cache[name], value), name
    made_here = {"attn.hook_attn_scores", "attn.hook_pattern"}
    rest = {name.split(".", 2)[2] for name in cache.keys() - expected.keys()}
    assert rest == made_here  # nothing in the cache is left unproven


def test_scores_give_the_pattern(activations):
    """transformers keeps the scores to itself; its pattern must follow from ours."""
    reference, _, out, _, _, cache = activations
    for i in range(reference.cfg.n_layers):
        scores = cache[f"blocks.{i}.attn.hook_attn_scores"]
        future = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        assert (scores[..., future] == -torch.inf).all()
        assert worst(scores.softmax(-1), out.attentions[i]) <= FLOAT32


@torch.no_grad()
def test_every_part_of_ours_makes_the_cached_activation(activations):
    """Fed with the reference's own activation, so that no error adds up."""
    reference, tokens, _, _, logits, cache = activations
    model = ours(reference)
    made = {
        "hook_embed": model.embed(tokens),
        "hook_pos_embed": model.pos_embed(tokens),
    }
    for i, block in enumerate(model.blocks):
        at = f"blocks.{i}"
        pre, mid = cache[f"{at}.hook_resid_pre"], cache[f"{at}.hook_resid_mid"]
        made |= {
            f"{at}.ln1.hook_normalized": block.ln1(pre),
            f"{at}.hook_attn_out": block.attn(cache[f"{at}.ln1.hook_normalized"]),
            f"{at}.ln2.hook_normalized": block.ln2(mid),
            f"{at}.hook_mlp_out": block.mlp(cache[f"{at}.ln2.hook_normalized"]),
            f"{at}.hook_resid_post": block(pre),
        }
    made["ln_final.hook_normalized"] = model.ln_final(pre_final(reference, cache))
    for name, value in made.items():
        assert worst(value, cache[name]) <= FLOAT32, name
    head = model.unembed(cache["ln_final.hook_normalized"])
    assert worst(head, logits) <= FLOAT32


def pre_final(reference: Reference, cache: dict) -> torch.Tensor:
    return cache[f"blocks.{reference.cfg.n_layers - 1}.hook_resid_post"]


def test_the_weights_are_copies():
    """Changing what `state_dict` returns does no harm to the reference."""
    reference = Reference(stirred(**SIZES["wide heads"]))
    before = {n: p.clone() for n, p in reference.model.state_dict().items()}
    for weight in reference.state_dict().values():
        weight.zero_()
    for name, p in reference.model.state_dict().items():
        assert torch.equal(p, before[name]), name


def test_names_and_shapes_of_the_weights():
    model = stirred(**SIZES["wide heads"])
    d_model, n_heads, d_head, d_mlp, d_vocab, n_ctx = 30, 3, 10, 50, 41, 13
    into_heads = (n_heads, d_model, d_head)
    block = {
        "ln1.w": (d_model,),
        "ln1.b": (d_model,),
        "ln2.w": (d_model,),
        "ln2.b": (d_model,),
        **{f"attn.W_{x}": into_heads for x in "QKV"},
        **{f"attn.b_{x}": (n_heads, d_head) for x in "QKV"},
        "attn.W_O": (n_heads, d_head, d_model),
        "attn.b_O": (d_model,),
        "mlp.W_in": (d_model, d_mlp),
        "mlp.b_in": (d_mlp,),
        "mlp.W_out": (d_mlp, d_model),
        "mlp.b_out": (d_model,),
    }
    expected = {
        "embed.W_E": (d_vocab, d_model),
        "pos_embed.W_pos": (n_ctx, d_model),
        **{f"blocks.{i}.{n}": s for i in range(2) for n, s in block.items()},
        "ln_final.w": (d_model,),
        "ln_final.b": (d_model,),
        "unembed.W_U": (d_model, d_vocab),
        "unembed.b_U": (d_vocab,),
    }
    weights = course_state_dict(model)
    assert {name: tuple(w.shape) for name, w in weights.items()} == expected
