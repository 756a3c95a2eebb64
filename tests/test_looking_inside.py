"""Notebook 10's identities: exact in float64, on stirred models and the shipped one."""

import math

import pytest
import torch

from helpers import checks, inside
from helpers.exercises.course import loaded, stirred
from helpers.exercises.nb10_looking_inside.models import opened
from helpers.model import DemoTransformer
from helpers.reference import load_reference

TOLERANCE = 1e-9


def own(name: str):
    """The course's answer to an exercise."""
    return getattr(checks, name).own


@pytest.fixture(scope="module", params=[1, 4, "stories"])
def subject(request):
    """A model in float64 with hook points, tokens, logits and cache."""
    if request.param == "stories":
        load_reference("stories")
    source = loaded() if request.param == "stories" else stirred(request.param)
    model = inside.hooked(DemoTransformer(source.cfg)).eval()
    model.load_state_dict(source.weights)
    with torch.no_grad():
        yield (
            model.double(),
            source.tokens,
            *inside.run_with_cache(model.double(), source.tokens),
        )


def near(a, b) -> bool:
    return torch.allclose(a, b, rtol=0, atol=TOLERANCE * max(1.0, b.abs().max().item()))


def run(subject, edits):
    with torch.no_grad():
        return inside.run_with_edits(subject[0], subject[1], edits)


def test_names_and_activations_are_the_references():
    for source in (stirred(), loaded()):
        cache = opened(source).cache
        assert cache.keys() == source.cache.keys()
        for name, value in source.cache.items():
            seen = cache[name].nan_to_num(neginf=0)
            torch.testing.assert_close(
                seen, value.nan_to_num(neginf=0), rtol=1e-4, atol=1e-4
            )


def test_hook_points_change_nothing():
    source = stirred()
    plain = DemoTransformer(source.cfg).double()
    plain.load_state_dict(source.weights)
    before, names = plain(source.tokens), [n for n, _ in plain.named_parameters()]
    again = inside.hooked(inside.hooked(plain))
    assert torch.equal(again(source.tokens), before)
    assert [n for n, _ in again.named_parameters()] == names


def test_edits_that_change_nothing_change_nothing(subject):
    model, tokens, logits, cache = subject
    assert torch.equal(run(subject, {}), logits)
    for name in cache:
        assert torch.equal(run(subject, {name: lambda x: x}), logits), name
        assert torch.equal(run(subject, {name: lambda x, n=name: cache[n]}), logits)
        if "resid_post" in name or "hook_z" in name:
            assert not near(run(subject, {name: lambda x: x + x.flip(1)}), logits), name


def test_after_an_exception_the_model_is_as_before(subject):
    def broken(value):
        raise ZeroDivisionError

    last = f"blocks.{subject[0].cfg.n_layers - 1}.hook_resid_post"
    with pytest.raises(ZeroDivisionError):
        run(subject, {"hook_embed": lambda x: 2 * x, last: broken})
    with pytest.raises(AttributeError):
        run(subject, {"hook_embed": lambda x: 2 * x, "no.such.point": broken})
    assert torch.equal(run(subject, {}), subject[2])


def test_the_lens_ends_in_the_models_logits(subject):
    model, _, logits, cache = subject
    lens = own("logit_lens")(model, cache)
    assert near(lens[-1], logits)
    assert len(lens) == 1 or not near(lens[-2], logits)


def test_parts_sum_to_the_stream_and_pushes_to_the_difference(subject):
    model, _, logits, cache = subject
    parts = own("stream_parts")(model, cache)
    n = model.cfg
    assert len(parts) == 2 + n.n_layers * (n.n_heads + 2)
    assert near(parts.sum(0), cache[f"blocks.{n.n_layers - 1}.hook_resid_post"])
    right = logits[:, -1].argmax(-1)
    wrong = (right + 1) % n.d_vocab
    pushes = own("logit_pushes")(model, parts[:, :, -1], right, wrong)
    rows = torch.arange(len(right))
    assert near(pushes.sum(0), logits[rows, -1, right] - logits[rows, -1, wrong])


def test_patching_everything_at_the_first_place_gives_the_other_run(subject):
    model, tokens, logits, cache = subject
    other = tokens.flip(1)
    with torch.no_grad():
        other_logits, other_cache = inside.run_with_cache(model, other)
        first = "blocks.0.hook_resid_pre"
        edits = {first: lambda x: other_cache[first]}
        assert near(run(subject, edits), other_logits)
        metric = lambda x: x[0, -1, 1].item()  # noqa: E731
        grid = own("patch_stream")(model, tokens, cache, metric)
        assert (grid - metric(logits)).abs().max() < 1e-5  # the grid is in float32


def test_a_head_replaced_by_itself_changes_nothing(subject):
    model, _, logits, cache = subject
    name = "blocks.0.attn.hook_z"
    for head in range(model.cfg.n_heads):
        edit = own("replace_head")(head, cache[name][:, :, head])
        assert torch.equal(run(subject, {name: edit}), logits)
    before = cache[name].clone()
    run(subject, {name: own("replace_head")(0, 0.0)})
    assert torch.equal(cache[name], before)


def test_circuits_are_what_the_layer_computes(subject):
    """Scores and direct push, from the matrices and from the run."""
    model, _, _, cache = subject
    block, x = model.blocks[0], cache["blocks.0.ln1.hook_normalized"][0]
    attn, scores = block.attn, cache["blocks.0.attn.hook_attn_scores"][0]
    ones = torch.ones(len(x), 1, dtype=x.dtype)
    for head in range(model.cfg.n_heads):
        # with the biases as one more feature, which is 1
        pairs = [[getattr(attn, f"{w}_{a}")[head] for w in "Wb"] for a in "QKV"]
        W = [torch.cat([weight, bias[None]]) for weight, bias in pairs]
        vectors = torch.cat([x, ones], dim=1)
        mine = own("qk_circuit")(vectors, vectors, W[0], W[1])
        seen = torch.ones_like(mine).tril().bool()
        assert near(mine[seen], scores[head][seen])
        written = cache["blocks.0.attn.hook_v"][0, :, head] @ attn.W_O[head]
        pushed = own("ov_circuit")(vectors, W[2], attn.W_O[head], model.unembed.W_U)
        assert near(pushed, written @ model.unembed.W_U)


def test_scores_of_heads_that_are_known():
    prefix, before = own("prefix_matching_scores"), own("previous_token_scores")
    block = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    tokens = torch.cat([block, block, block])[None]
    at = torch.arange(60)
    looks = {
        "induction": torch.where(at < 20, 0, at - 19),
        "copy": torch.where(at < 20, 0, at - 20),
        "before": (at - 1).clamp_min(0),
    }
    pattern = torch.stack([torch.eye(60)[key] for key in looks.values()])[None]
    assert prefix(pattern, tokens).tolist() == [1.0, 0.0, 0.0]
    assert before(pattern)[2] == 1.0
    even = torch.ones(60, 60).tril()
    even = (even / even.sum(-1, keepdim=True))[None, None]
    expected = sum((1 if q < 40 else 2) / (q + 1) for q in range(20, 60)) / 40
    assert math.isclose(prefix(even, tokens).item(), expected, rel_tol=1e-6)


def test_what_the_probe_leaves_over_is_at_right_angles():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, 9, generator=generator).double()
    labels = torch.randint(4, (200,), generator=generator)
    probe = own("linear_probe")(x, labels)
    inputs = torch.cat([x, torch.ones(200, 1).double()], dim=1)
    targets = torch.nn.functional.one_hot(labels).double()
    assert (inputs.T @ (inputs @ probe - targets)).abs().max() < TOLERANCE


def test_the_circuit_of_the_stories_model():
    """The four heads that bring back the lost thing: without them nothing is left."""
    reference = load_reference("stories")
    model = opened(loaded()).model
    text = "One windy day Mia went to the forest. She had a red {} and took it "
    text += "everywhere. But she lost it. Because she loved the"
    words = ["kite", "drum", "bell", "doll"]
    tokens = torch.cat([reference.to_tokens(text.format(word)) for word in words])
    ids = torch.cat([reference.to_tokens(f" {word}", False)[0] for word in words])
    replace, rows = own("replace_head"), torch.arange(len(words))
    off = {f"blocks.{layer}.attn.hook_z": replace(heads, 0.0)
           for layer, heads in {2: [0], 3: [1, 2, 3]}.items()}  # fmt: skip
    others = {f"blocks.{layer}.attn.hook_z": replace(heads, 0.0)
              for layer, heads in {2: [1, 2, 3], 3: [0]}.items()}  # fmt: skip
    with torch.no_grad():
        for edits, least, most in (({}, 0.99, 1), (off, 0, 0.3), (others, 0.99, 1)):
            probs = inside.run_with_edits(model, tokens, edits)[:, -1].softmax(-1)
            assert least <= probs[rows, ids].min() and probs[rows, ids].max() <= most
