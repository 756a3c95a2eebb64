"""The exercise edition as people meet it: solved, wrong, offline, on Colab."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from helpers import address, editions
from notebook_tools import (
    EXERCISES,
    FEW_STEPS,
    NOTEBOOKS,
    ROOT,
    complete,
    exercises,
    fill_in,
    kernel,
    no_network,
    run_solved,
    silent_checks,
)

# Wrong answers, each with the diagnosis that must stop the notebook:
# (notebook, exercise cell), {(code of the solution, code in its place): slug}.
WRONG = {
    ("00_start_here", "next_token-exercise"): {("[:, -1]", ""): "all-positions"},
    ("01_building_blocks", "config-exercise"): {
        ("d_mlp: int", "d_mlp"): "no-annotation",
        ("n_heads: int = 12", "n_head: int = 12"): "renamed-field",
    },
    ("01_building_blocks", "scale_and_shift-exercise"): {
        ("nn.Parameter(torch.ones(cfg.d_model))", "1.0"): "missing-parameter",
        ("super().__init__()", "pass"): "no-super-init",
    },
    ("01_building_blocks", "mix_values-exercise"): {
        ("batch key_pos n_heads", "batch position n_heads"): "values-not-tied",
    },
    ("02_layernorm", "layer_norm-exercise"): {
        ("centred.pow(2).mean(", "residual.var("): "divides-by-n-minus-1",
        ("* self.w", ""): "weight-unused",
        ("return ", ""): "no-return",
    },
    ("03_embeddings", "merge_pair-exercise"): {
        ("merged[-1] += token", "merged.append(token)"): "nothing-merged",
    },
    ("03_embeddings", "embed-exercise"): {
        ("self.W_E[tokens]", "self.W_E.T[tokens]"): "transposed-table",
    },
    ("03_embeddings", "pos_embed-exercise"): {
        ("self.W_pos[:position]", "self.W_pos[:batch]"): "counts-the-batch",
    },
    ("03_embeddings", "unembed-exercise"): {
        (" + self.b_U", ""): "bias-unused",
    },
    ("04_attention", "attention_projections-exercise"): {
        ("n_heads d_model d_head", "n_heads d d_head"): "d-model-not-tied",
    },
    ("04_attention", "attention_scores-exercise"): {
        (" / math.sqrt(q.shape[-1])", ""): "no-scale",
    },
    ("04_attention", "causal_mask-exercise"): {
        ("diagonal=1", "diagonal=0"): "mask-hides-the-diagonal",
        ("return attn_scores.", "attn_scores."): "no-return",
    },
    ("04_attention", "attention_pattern-exercise"): {
        ("dim=-1", "dim=-2"): "softmax-over-queries"
    },
    ("04_attention", "attention_values-exercise"): {
        ("batch key_pos n_heads", "batch position n_heads"): "keys-not-tied",
    },
    ("04_attention", "attention_output-exercise"): {("b_O + ", ""): "b_O-forgotten"},
    ("04_attention", "attention-exercise"): {
        ("self.W_V, self.b_V", "self.W_K, self.b_V"): "v-from-the-wrong-weights",
        ("nn.Parameter(torch.zeros(cfg.d_model))", "torch.zeros(cfg.d_model)"): (
            "not-a-parameter"
        ),
    },
    ("05_mlp", "gelu-exercise"): {("0.5 * x", "x"): "no-half"},
    ("05_mlp", "mlp-exercise"): {
        ("gelu_new(pre)", "pre.relu()"): "relu",
        (" + self.b_in", ""): "b-in-unused",
    },
    ("06_transformer_block", "transformer_block-exercise"): {
        ("self.mlp(self.ln2", "self.mlp(self.ln1"): "ln1-used-twice",
        ("return resid_mid + ", "return "): "no-second-residual",
    },
    ("07_full_transformer", "demo_transformer-exercise"): {
        ("self.ln_final(residual)", "residual"): "no-final-layernorm",
        ("residual = block(residual)", "residual += block(residual)"): (
            "residual-doubled"
        ),
        ("nn.ModuleList(", "list("): "list-instead-of-modulelist",
    },
    ("07_full_transformer", "split_c_attn-exercise"): {
        ("(qkv n_heads d_head)", "(n_heads qkv d_head)"): "heads-before-qkv",
    },
    ("07_full_transformer", "to_course_names-exercise"): {
        ('hf["lm_head.weight"].T', 'hf["lm_head.weight"]'): "head-not-transposed",
    },
    ("07_full_transformer", "cross_entropy-exercise"): {
        ("tokens[:, 1:, None]", "tokens[:, :-1, None]"): "no-shift-last-dropped",
    },
    ("08_generation", "temperature-exercise"): {
        ("logits / temperature", "logits * temperature"): "temperature-multiplied",
    },
    ("08_generation", "top_k-exercise"): {
        ("logits < kth", "logits <= kth"): "kth-removed"
    },
    ("08_generation", "repetition_penalty-exercise"): {
        ("seen * penalty", "seen / penalty"): "divides-negative-logits",
    },
    ("08_generation", "cached_transformer-exercise"): {
        ("W_pos[past : past + tokens.shape[1]]", "W_pos[: tokens.shape[1]]"): (
            "position-not-offset"
        ),
    },
    ("09_training", "make_batch-exercise"): {
        ("longest + 1), -100)", "longest + 1), end)"): "padding-counted",
    },
    ("09_training", "batch_loss-exercise"): {
        (", ignore_index=-100", ', reduction="sum"'): "sum-not-mean",
    },
    ("09_training", "parameter_groups-exercise"): {
        ('name.split(".")[-1].startswith("W_")', "learned[name].dim() > 1"): (
            "decay-on-attention-biases"
        ),
    },
    ("09_training", "learning_rate-exercise"): {
        ("update = step + 1", "update = step"): "starts-at-zero",
    },
    ("09_training", "clip_gradients-exercise"): {
        ("grad.mul_(max_norm / norm)", "grad.clamp_(-max_norm, max_norm)"): (
            "clips-by-value"
        ),
    },
    ("09_training", "train_step-exercise"): {
        ("    optimizer.zero_grad()\n", ""): "no-zero-grad",
        ("    model.train()\n", ""): "no-train-mode",
    },
    ("10_looking_inside", "logit_lens-exercise"): {
        ("model.unembed(model.ln_final(residual))", "model.unembed(residual)"): (
            "without-ln-final"
        ),
    },
    ("10_looking_inside", "prefix_matching_scores-exercise"): {
        ("F.pad(same, (1, 0)).tril()", "F.pad(same, (1, 0))"): "the-future-counts",
    },
    ("12_from_gpt2_to_llama", "rms_norm-exercise"): {
        ("x.float()", "x.float() - x.float().mean(-1, True)"): "mean-subtracted",
    },
    ("12_from_gpt2_to_llama", "rotate-exercise"): {
        ("return torch.cat(turned, dim=-1)", "return torch.cat(turned[::-1], -1)"): (
            "halves-exchanged"
        ),
    },
    ("12_from_gpt2_to_llama", "grouped_query_attention-exercise"): {
        ("rotate(k, angles), v)", "rotate(k, angles), rotate(v, angles))"): "v-rotated",
    },
    ("13_learning_from_reward", "policy_gradient_loss-exercise"): {
        ("-losses.sum(dim=1)", "-losses[:, 0]"): "first-token-only",
    },
    ("13_learning_from_reward", "clipped_loss-exercise"): {
        ("torch.min(", "torch.max("): "max-for-min",
        ("old_log_probs.detach()", "old_log_probs"): "old-with-gradient",
    },
    ("13_learning_from_reward", "dpo_loss-exercise"): {
        ("(log_probs - start_log_probs)", "log_probs"): "reference-forgotten",
    },
    ("13_learning_from_reward", "lora-exercise"): {
        ("torch.zeros(rank, d_out)", "torch.randn(rank, d_out)"): "b-random",
    },
}


def test_the_network_is_really_blocked(tmp_path):
    """The block that the next test relies on: quick, complete, and it keeps a log."""
    log = tmp_path / "log"
    script = (
        "import socket, threading\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "socket.create_connection(server.getsockname()).close()\n"
        "for target in (('192.0.2.1', 80), ('huggingface.co', 443)):\n"
        "    try: socket.create_connection(target, timeout=30)\n"
        "    except OSError as error: print(error)\n"
    )
    env = {**os.environ, **no_network(log)}
    run = subprocess.run(
        [sys.executable, "-c", script], env=env, capture_output=True, text=True
    )
    assert run.stdout.count("the network is blocked") == 2, run.stderr
    assert log.read_text(encoding="utf-8").count("\n") == 2


@pytest.mark.slow
def test_one_person_does_the_whole_course_offline(my_gpt2, tmp_path, subtests):
    """Every notebook in order, wrong answers first, one my_gpt2.py, no network.

    All in one kernel, which imports PyTorch once; pytest runs each notebook of both
    editions in a kernel of its own as well.
    """
    log = tmp_path / "network.log"
    with kernel(EXERCISES, no_network(log) | {"COURSE_STEPS": FEW_STEPS}) as client:
        _solve_all(client, log, subtests)
    assert my_gpt2.exists()
    assert "helpers.model" not in my_gpt2.read_text(encoding="utf-8")
    command = [sys.executable, str(my_gpt2), "Once upon a time", "--seed", "0"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert told.startswith("Once upon a time") and len(told) > 60
    llama = my_gpt2.with_name("my_llama.py")
    assert "helpers.llama" not in llama.read_text(encoding="utf-8")
    command[1] = str(llama)
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert told.startswith("Once upon a time") and len(told) > 60


def _solve_all(client, log, subtests):
    for name in NOTEBOOKS:
        filled = fill_in(exercises(name), complete(name))
        tried = [
            (cell, old, new, slug)
            for (notebook, cell), answers in WRONG.items()
            if notebook == name
            for (old, new), slug in answers.items()
        ]
        heard = []
        with subtests.test(notebook=name):
            heard, moved = run_solved(client, filled, [wrong[:3] for wrong in tried])
            assert silent_checks(filled, "passed") == []
            assert not log.exists(), log.read_text(encoding="utf-8")
            panels = sum(cell.source.count("widgets.panel(") for cell in filled.cells)
            assert moved == f"moved {panels} widgets"
        for (cell, old, new, slug), said in zip(tried, heard):  # none if it stopped
            with subtests.test(cell=cell, old=old, new=new):
                assert said, f"{new!r} in the place of {old!r} passes"
                assert "CheckFailed" in said
                assert slug in said


def test_every_notebook_with_exercises_meets_wrong_answers():
    with_exercises = {
        name
        for name in NOTEBOOKS
        if any(cell.id.endswith("-exercise") for cell in exercises(name).cells)
    }
    assert {name for name, _ in WRONG} == with_exercises


@pytest.fixture(scope="module")
def public_repository(tmp_path_factory) -> Path:
    """The working tree as a bare repository, in the place of the public one."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("needs git and a checkout")

    def run(*arguments: str, cwd: Path = ROOT) -> str:
        return subprocess.run(
            [git, *arguments], cwd=cwd, check=True, capture_output=True, text=True
        ).stdout

    tree = tmp_path_factory.mktemp("tree")
    listed = run("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, tree / name)
    run("init", "-q", cwd=tree)
    run("add", "-A", cwd=tree)
    who = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    run(*who, "commit", "-qm", "the course", cwd=tree)
    run("tag", address.read().release, cwd=tree)
    run("rm", "-qr", "helpers", cwd=tree)
    run(*who, "commit", "-qm", "not for learners yet", cwd=tree)
    bare = tmp_path_factory.mktemp("public") / "course.git"
    run("clone", "-q", "--bare", str(tree), str(bare))
    return bare


def _in_an_empty_folder(tmp_path: Path, *sources: str, repository: str) -> str:
    """Run cells as on Colab: a folder without the course, helpers not importable."""
    folder = tmp_path / "content"
    folder.mkdir(exist_ok=True)
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    notebook = nbformat.v4.new_notebook(cells=cells)
    env = {"COURSE_REPOSITORY": repository, "PYTHONPATH": ""}
    editions.execute(notebook, folder, env, timeout=300)
    return notebook.cells[-1].outputs[0].text


def test_the_first_cell_from_an_empty_folder(tmp_path, public_repository):
    """As on Colab; run twice; the second run needs no repository any more."""
    setup = next(c for c in exercises(NOTEBOOKS[0]).cells if c.id == "setup").source
    where = "import helpers; print(helpers.__file__, Path.cwd(), EDITION)"
    said = _in_an_empty_folder(
        tmp_path,
        setup,
        "import shutil, os; os.environ['COURSE_REPOSITORY'] = 'file:///nowhere'",
        setup,
        where,
        repository=public_repository.as_uri(),
    )
    module, cwd, edition = said.split()
    content = tmp_path / "content"
    assert Path(module).resolve().is_relative_to(content.resolve())
    assert Path(cwd).resolve() == content.resolve(), "the working directory moved"
    assert edition == "exercises"
    assert (content / "clean-transformer" / "notebooks").is_dir()
