"""helpers/fast.py: the clear model's logits, gradients and tokens, by other means."""

import pytest
import torch
from torch.nn import functional as F

from helpers import Config, fast, model
from helpers.generation import greedy
from helpers.reference import load_reference

CFG = Config(
    d_model=24, n_heads=3, d_head=8, d_mlp=40, n_layers=2, d_vocab=50, n_ctx=16
)


def stirred(cls, seed: int = 0):
    """A model in float64, every parameter random, biases, gains and b_U too."""
    made = cls(CFG).double().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, p in sorted(made.named_parameters()):
            p.normal_(std=0.3, generator=generator)
    return made


def tokens(batch: int, position: int):
    """Ids at random."""
    generator = torch.Generator().manual_seed(batch + position)
    return torch.randint(CFG.d_vocab, (batch, position), generator=generator)


def test_parameters_load_in_both_directions():
    clear, quick = stirred(model.DemoTransformer, 1), stirred(fast.FastTransformer, 2)
    quick.load_state_dict(clear.state_dict())
    clear.load_state_dict(quick.state_dict())


# Few rows go head by head, many (above 4 * d_model) through one product for Q, K and V.
@pytest.mark.parametrize("size", [(1, 1), (2, 1), (2, 7), (1, 16), (7, 16)])
@pytest.mark.parametrize("bias", [True, False])
def test_logits_and_gradients_are_the_clear_models(size, bias):
    clear, quick = stirred(model.DemoTransformer), stirred(fast.FastTransformer)
    found = []
    for made in (clear, quick):
        made.unembed.b_U.requires_grad_(False)
        if not bias:
            made.unembed.b_U.zero_()
        logits = made(tokens(*size))
        logits.log_softmax(-1)[..., 0].sum().backward()
        found.append({"logits": logits, **{n: p.grad for n, p in _learned(made)}})
    assert found[0].keys() == found[1].keys()
    for name in found[0]:
        torch.testing.assert_close(found[0][name], found[1][name], msg=name)


def _learned(made):
    return [(n, p) for n, p in made.named_parameters() if p.requires_grad]


def test_a_learned_bias_of_zeros_gets_its_gradient():
    quick = stirred(fast.FastTransformer)
    with torch.no_grad():
        quick.unembed.b_U.zero_()
    quick.unembed.b_U.requires_grad_(True)
    quick(tokens(2, 5)).sum().backward()
    assert quick.unembed.b_U.grad.eq(10).all()


@pytest.mark.parametrize("cuts", [(1,) * 12, (5, 1, 1, 5), (1, 11), (12,), (4, 4, 4)])
@torch.no_grad()
def test_with_a_cache_the_logits_are_the_same_at_every_step(cuts):
    quick, text = stirred(fast.FastTransformer), tokens(3, 12)
    whole, cache = stirred(model.DemoTransformer)(text), fast.Cache.of(quick, 3, 12)
    assert cache.k.dtype == torch.float64
    k = cache.k
    for part in text.split(cuts, dim=1):
        start = cache.past
        torch.testing.assert_close(
            quick(part, cache), whole[:, start : start + part.shape[1]]
        )
    assert cache.past == 12
    assert cache.k is k  # written in place


@torch.no_grad()
def test_last_only_is_the_last_row():
    quick = stirred(fast.FastTransformer)
    logits = quick(tokens(2, 9), last_only=True)
    torch.testing.assert_close(logits, quick(tokens(2, 9))[:, -1:])


@pytest.mark.parametrize("cores", [1, 2, 3, 5, 7])  # 7 does not divide 600
@pytest.mark.parametrize("shape", [(1, 1, 600), (1, 600), (2, 1, 600), (600,)])
def test_a_product_that_cores_share_is_the_product(cores, shape, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: cores)
    generator = torch.Generator().manual_seed(0)
    made = {"generator": generator, "dtype": torch.float64}
    x, W = torch.randn(shape, **made), torch.randn(600, 200, **made)
    assert W.numel() >= fast.WORTH_SHARING
    b = torch.randn(200, **made)
    for bias in (b, None):
        expected = F.linear(x, W.T, bias)
        torch.testing.assert_close(fast.linear(x, W, bias), expected)
    torch.testing.assert_close(fast.linear(x, W.T.contiguous().T), x @ W)


@pytest.mark.parametrize("batch", [1, 3])
def test_greedy_fast_says_what_greedy_says(batch):
    clear, quick = stirred(model.DemoTransformer), stirred(fast.FastTransformer)
    prompt = tokens(batch, 4)
    before = prompt.clone()
    said = fast.greedy_fast(quick, prompt, 12)
    assert torch.equal(said, greedy(clear, prompt, 12))
    assert torch.equal(prompt, before)
    assert not said.is_inference()  # a caller may go on to train with it


def test_greedy_fast_refuses_what_does_not_fit():
    quick = stirred(fast.FastTransformer)
    with pytest.raises(ValueError, match="empty"):
        fast.greedy_fast(quick, tokens(1, 0), 3)
    with pytest.raises(ValueError, match="more than this model can read"):
        fast.greedy_fast(quick, tokens(1, 10), 7)


@torch.no_grad()
def test_on_the_shipped_model():
    reference = load_reference("stories")
    quick = fast.FastTransformer(reference.cfg).eval()
    quick.load_state_dict(reference.state_dict())
    prompt = reference.to_tokens("Once upon a time")
    theirs = reference.model(prompt).logits
    scale = theirs.abs().max()
    assert (quick(prompt) - theirs).abs().max() < 1e-4 * scale
    clear = model.DemoTransformer(reference.cfg).eval()
    clear.load_state_dict(reference.state_dict())
    said = fast.greedy_fast(quick, prompt, 30)
    assert torch.equal(said, greedy(clear, prompt, 30))
