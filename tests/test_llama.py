"""The Llama of notebook 12 beside transformers' own, and how it is loaded and kept."""

import copy
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM

from helpers import (
    checks,
    generation,
    llama_names,
    loading,
    my_code,
    pieces,
    reference,
)
from helpers.exercises.course import stir
from helpers.exercises.nb12_from_gpt2_to_llama.models import SIZES, stirred
from helpers.hub import ModelNotLoaded
from helpers.llama import (
    Llama,
    LlamaBlock,
    MixtureOfExperts,
    hidden_keys,
    rotary_angles,
)
from helpers.reference import Reference, current_reference, load_reference
from random_gpt2 import byte_tokenizer
from tests.candidates import define

FAMILIES = ("Llama", "Qwen3", "Mistral")
SHAPES = {  # the real ones' configurations; the second with fewer layers, for memory
    "SmolLM2-135M": transformers.LlamaConfig(
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        vocab_size=49152,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 100_000.0},
    ),
    "Qwen3-0.6B": transformers.Qwen3Config(
        hidden_size=1024,
        intermediate_size=3072,
        num_hidden_layers=4,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        vocab_size=151936,
        max_position_embeddings=40960,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 1_000_000.0},
    ),
}


def ours_of(model, dtype=torch.float32) -> Llama:
    ours = Llama(llama_names.config_of(model.config)).to(dtype).eval()
    ours.load_state_dict(loading.course_state_dict(model))  # strictly
    return ours


def relative(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


@pytest.mark.parametrize("dtype, bar", [(torch.float32, 1e-4), (torch.float64, 1e-9)])
@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_transformers(family, dtype, bar):
    source = stirred(family)
    theirs = copy.deepcopy(source.reference.model).to(dtype)
    theirs.set_attn_implementation("sdpa")  # "eager" has its softmax in float32
    ours = ours_of(theirs, dtype)
    assert relative(ours(source.tokens), theirs(source.tokens).logits) < bar


@pytest.mark.parametrize("family", FAMILIES)
def test_with_padding(family):
    source = stirred(family)
    is_padding = torch.arange(7) < torch.tensor([[3], [0]])
    how = {"attention_mask": (~is_padding).long()}
    theirs = source.reference.model(source.tokens, **how).logits[~is_padding]
    ours = ours_of(source.reference.model)
    logits = ours(source.tokens, is_padding=is_padding)
    assert logits.isfinite().all()
    assert relative(logits[~is_padding], theirs) < 1e-4
    alone = ours(source.tokens[:1, 3:])
    assert relative(logits[:1, 3:], alone) < 1e-4


@pytest.mark.parametrize("cuts", [(1,) * 7, (4, 3), (2, 1, 4)])
@pytest.mark.parametrize("family", FAMILIES)
def test_with_a_cache(family, cuts):
    source = stirred(family)
    ours = ours_of(source.reference.model)
    cache = generation.new_cache(ours.cfg, batch=2)
    logits = [ours(piece, cache) for piece in source.tokens.split(cuts, dim=1)]
    assert relative(torch.cat(logits, dim=1), source.logits) < 1e-4
    assert cache[0].k.shape == (2, 7, ours.cfg.n_kv_heads, ours.cfg.d_head)


def test_functions_of_notebook_08_work_unchanged():
    source = stirred()
    ours, prompt = ours_of(source.reference.model), source.tokens[:1, :4]
    plain = generation.greedy(ours, prompt, 5)
    assert torch.equal(plain, generation.greedy_cached(ours, prompt, 5))
    assert torch.equal(plain, generation.beam_search(ours, prompt, 5, n_beams=1))


def test_a_mixture_of_experts_as_a_block_of_transformers():
    source = stirred("Qwen3Moe")
    ours = Llama(source.cfg)
    for block in ours.blocks:
        block.mlp = MixtureOfExperts(source.cfg)
    ours.load_state_dict(source.weights)
    assert relative(ours(source.tokens), source.logits) < 1e-4


def test_groups_of_one_are_full_attention():
    """As many key heads as query heads: the same as with each one repeated."""
    source = stirred()
    groups = ours_of(source.reference.model)
    single = Llama(replace(source.cfg, n_kv_heads=source.cfg.n_heads))
    weights = {
        name: w.repeat_interleave(2, dim=0) if name.endswith(("W_K", "W_V")) else w
        for name, w in source.weights.items()
    }
    single.load_state_dict(weights)
    assert relative(single(source.tokens), groups(source.tokens)) < 1e-5


def test_the_shipped_model():
    ours, text = load_reference("stories-llama"), "Once upon a time there was a dog."
    tokens = ours.to_tokens(text)
    assert (ours.family, ours.cfg.qk_norm) == ("llama", True)
    assert relative(ours_of(ours.model)(tokens), ours.model(tokens).logits) < 1e-4
    folder = reference.ASSETS / "stories-llama"
    assert sum(file.stat().st_size for file in folder.iterdir()) < 4_000_000


@pytest.mark.parametrize("name", SHAPES)
def test_the_real_ones_shapes_from_a_folder(name, tmp_path):
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(SHAPES[name]).save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    found = Reference(loading.load_model(name, tmp_path), name=name)
    tokens = torch.arange(12)[None] * 97
    assert relative(ours_of(found.model)(tokens), found.model(tokens).logits) < 1e-4


def save(config, folder, **more):
    model = AutoModelForCausalLM.from_config(config(**SIZES, **more))
    model.save_pretrained(folder)
    byte_tokenizer(5).save_pretrained(folder)


@pytest.mark.parametrize(
    "config, more, word",
    [
        (
            transformers.LlamaConfig,
            {
                "rope_parameters": {
                    "rope_type": "linear",
                    "factor": 2.0,
                    "rope_theta": 1e4,
                }
            },
            "stretches its rotary angles",
        ),
        (transformers.LlamaConfig, {"attention_bias": True}, "attention_bias=True"),
        (transformers.LlamaConfig, {"mlp_bias": True}, "mlp_bias=True"),
        (transformers.LlamaConfig, {"hidden_act": "gelu"}, "hidden_act='gelu'"),
        (
            transformers.Qwen3Config,
            {"use_sliding_window": True, "sliding_window": 3, "max_window_layers": 2},
            "a sliding window in some layers",
        ),
        (transformers.GemmaConfig, {}, "'gemma' model"),
    ],
)
def test_what_is_not_built_is_refused_in_a_sentence(config, more, word, tmp_path):
    save(config, tmp_path, **more)
    with pytest.raises(ModelNotLoaded, match=word) as told:
        load_reference(str(tmp_path))
    assert "\n" not in str(told.value)


def test_a_reference_of_another_family_is_told_and_left(monkeypatch, capsys):
    monkeypatch.setenv("COURSE_REFERENCE", "stories")
    assert load_reference("stories-llama").family == "llama"
    assert "another family" in capsys.readouterr().out
    assert current_reference().family == "gpt2"
    assert current_reference("llama").name == "stories-llama"


def test_activations_have_transformers_values():
    found = stirred()
    ours = ours_of(found.reference.model)
    at = torch.arange(7)
    how = rotary_angles(at, ours.cfg), hidden_keys(at, at)
    block: LlamaBlock = ours.blocks[1]
    resid_pre = found.cache["blocks.1.hook_resid_pre"]
    attn_out = block.attn(block.ln1(resid_pre), *how)
    assert relative(attn_out, found.cache["blocks.1.hook_attn_out"]) < 1e-4
    resid_post = block(resid_pre, *how)
    assert relative(resid_post, found.cache["blocks.1.hook_resid_post"]) < 1e-4


def test_stirring_leaves_nothing_at_a_special_value():
    model = copy.deepcopy(stirred().reference.model)
    stir(model, torch.Generator().manual_seed(0))
    for name, p in model.named_parameters():
        assert not p.eq(1).any() and not p.eq(0).any(), name


# ------------------------------------------------------------------ my_llama.py

MINE = """
class RMSNorm(nn.Module):
    def __init__(self, cfg, width=None):
        super().__init__()
        self.cfg = cfg
        self.w = nn.Parameter(torch.ones(width or cfg.d_model))
    def forward(self, x):
        wide = x.float()
        mean = wide.pow(2).mean(-1, keepdim=True)
        return self.w * (wide * (mean + self.cfg.rms_norm_eps).rsqrt()).to(x.dtype)
"""


def test_what_passes_goes_into_a_file_of_its_own(my_gpt2, monkeypatch, capsys):
    monkeypatch.setattr(my_code, "_edition", "exercises")
    mine = define(MINE)["RMSNorm"]
    checks.rms_norm(mine)
    assert "Saved in my_llama.py" in capsys.readouterr().out
    file = my_gpt2.with_name("my_llama.py")
    assert "class RMSNorm" in file.read_text("utf-8") and not my_gpt2.exists()
    assert my_code.load("RMSNorm").__module__ == "my_llama"
    run = subprocess.run([sys.executable, str(file)], capture_output=True, text=True)
    assert run.stderr.startswith("Still to do before this runs: ")
    assert "SwiGLU" in run.stderr and "RMSNorm" not in run.stderr


# ------------------------------------------------------------------ what pieces buy


def test_all_variants_have_gpt2s_number_of_parameters():
    counts = {
        name: pieces.parameters_of(pieces.Mixture(what, 1017))
        for name, what in pieces.VARIANTS.items()
    }
    for count in counts.values():
        assert count == pytest.approx(counts["GPT-2"], rel=1e-3)


def test_the_mixture_with_all_pieces_is_the_courses_llama():
    torch.manual_seed(0)
    what = pieces.VARIANTS["all of them"]
    mixed = pieces.Mixture(what, 50, d_mlp=40)
    for p in mixed.parameters():
        p.uniform_(-0.3, 0.3)
    s = pieces.SIZES
    cfg = replace(
        llama_names.LlamaConfig(),
        **{k: s[k] for k in ("d_model", "n_heads", "d_head", "n_layers", "n_ctx")},
        n_kv_heads=s["n_heads"] // 4,
        d_mlp=40,
        d_vocab=50,
        rope_theta=10_000.0,
        qk_norm=True,
    )
    ours, d = Llama(cfg), s["d_head"]
    weights = {"embed.W_E": mixed.embed.weight, "ln_final.w": mixed.ln_final.weight}
    weights["unembed.W_U"] = mixed.unembed.weight.T
    for i, block in enumerate(mixed.blocks):
        attn, mlp, at = block["attn"], block["mlp"], f"blocks.{i}"
        qkv = attn.qkv.weight.unflatten(0, (-1, d)).mT.split(attn.split)
        weights |= {f"{at}.attn.W_{n}": w for n, w in zip("QKV", qkv)}
        weights[f"{at}.attn.W_O"] = attn.out.weight.T.unflatten(0, (-1, d))
        weights[f"{at}.attn.q_norm.w"] = attn.q_norm.weight
        weights[f"{at}.attn.k_norm.w"] = attn.k_norm.weight
        weights[f"{at}.ln1.w"] = block["ln1"].weight
        weights[f"{at}.ln2.w"] = block["ln2"].weight
        gate, up = mlp.into.weight.chunk(2)
        weights |= {f"{at}.mlp.W_gate": gate.T, f"{at}.mlp.W_in": up.T}
        weights[f"{at}.mlp.W_out"] = mlp.out.weight.T
    ours.load_state_dict(weights)
    tokens = torch.arange(18).view(2, 9)
    assert relative(ours(tokens), mixed(tokens)) < 1e-5


@pytest.mark.slow
def test_the_table_is_made_and_taken_up_again(tmp_path):
    out = tmp_path / "pieces.json"
    few = ["--out", str(out), "--steps", "2", "--seeds", "1", "--workers", "1"]
    few += ["--held-out", "16"]
    pieces.main(few)
    text = out.read_text("utf-8")
    assert text.count('"variant"') == len(pieces.VARIANTS)
    pieces.main([*few, "--resume"])
    assert out.read_text("utf-8") == text  # nothing was left to do
