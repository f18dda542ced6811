"""Models of transformers as tasks, and how adapters are averaged."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gossipfl.errors import InvalidTask
from gossipfl.fingerprints import differing_parts
from gossipfl.rows import load_row, to_tensors
from gossipfl.tasks import Dataset, Task
from gossipfl.tasks.huggingface import averaged_products
from gossipfl.training import NodeData, Nodes, Trainer, TrainingSettings, rehearse

transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")

SIZES = {
    "vocab_size": 30, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 16, "max_position_embeddings": 12,
    "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
}  # fmt: skip


def classifier(labels=3):
    config = transformers.BertConfig(**SIZES, num_labels=labels)
    return transformers.AutoModelForSequenceClassification.from_config(config)


def tagger():
    return transformers.AutoModelForTokenClassification.from_config(
        transformers.BertConfig(**SIZES, num_labels=3)
    )


def language_model():
    config = transformers.GPT2Config(
        vocab_size=30,
        n_embd=16,
        n_layer=1,
        n_head=2,
        n_positions=12,
        resid_pdrop=0,
        embd_pdrop=0,
        attn_pdrop=0,
    )
    return transformers.AutoModelForCausalLM.from_config(config)


GENERATOR = torch.Generator().manual_seed(0)
IDS = torch.randint(1, 30, (24, 8), generator=GENERATOR)
MASK = torch.arange(8) < torch.randint(3, 9, (24, 1), generator=GENERATOR)
LABELS = {
    "classes": IDS[:, 0] % 3,
    "positions": torch.where(MASK, IDS % 3, -100),
    "next": torch.where(MASK, IDS, -100),
    "regression": IDS[:, 0] / 30,
}
MODELS = {
    "classes": classifier,
    "positions": tagger,
    "next": language_model,
    "regression": lambda: classifier(1),
}


def data_of(head):
    inputs = {"input_ids": IDS, "attention_mask": MASK.long()}
    return Dataset(
        train_inputs=inputs, train_targets=LABELS[head], test_inputs=inputs, test_targets=LABELS[head]
    )


def task_of(head, **options):
    return Task.from_transformers(
        **{"name": head, "model": MODELS[head], "data": lambda: data_of(head), **options}
    )


def lora(**options):
    return peft.LoraConfig(r=4, target_modules=["query", "value"], task_type="SEQ_CLS", **options)


def trainer_of(task, **settings):
    data = task.dataset()
    nodes = NodeData.of_one_node(data.train_inputs, data.train_targets)
    return Trainer.of(task, nodes, TrainingSettings(**{"batch_size": 24, "learning_rate": 0.1, **settings}))


@pytest.mark.parametrize("head", MODELS)
@pytest.mark.parametrize("rows", [1, 2])
def test_a_step_is_that_of_transformers_with_its_own_loss(head, rows):
    task = task_of(head)
    trainer = trainer_of(task)
    nodes, losses = trainer.train(
        Nodes.start(task.initial_row().repeat(rows, 1)), np.zeros(rows, dtype=np.int64)
    )
    module = task.build_module()
    load_row(module, task.layout, task.initial_row())
    outputs = module(input_ids=IDS, attention_mask=MASK.long(), labels=LABELS[head])
    outputs.loss.backward()
    torch.optim.SGD(module.parameters(), lr=0.1).step()
    assert losses.tolist() == pytest.approx([outputs.loss.item()] * rows, rel=1e-5)
    after = to_tensors(nodes.rows[-1], task.layout)
    for name, parameter in module.named_parameters():
        assert torch.allclose(after[name], parameter, atol=2e-6), name
    rehearse(task, trainer, *(getattr(task.dataset(), f"test_{part}") for part in ("inputs", "targets")))


def test_only_adapters_and_the_head_are_shared():
    task = task_of("classes", adapters=lora())
    shared = [entry.name for entry in task.layout.entries if entry.group == "shared"]
    assert all("lora_B" in name or "classifier" in name for name in shared)
    both = task_of("classes", adapters=lora(), averaging="factors")
    assert sum("lora_A" in entry.name for entry in both.layout.entries if entry.group == "shared") == 2
    assert task.layout.shared_size < 0.1 * task_of("classes").layout.shared_size
    assert task.fingerprint != both.fingerprint


def test_what_no_tensor_shows_of_bodies_and_adapters_tells_them_apart():
    def task(change=None, value=None, *, adapters=None):
        config = transformers.BertConfig(**{**SIZES, "num_labels": 3, **({change: value} if change else {})})
        kind = transformers.AutoModelForSequenceClassification
        return task_of("classes", model=lambda: kind.from_config(config), adapters=adapters)

    known = task()
    for change, value in (
        ("num_attention_heads", 4),
        ("hidden_act", "relu"),
        ("hidden_dropout_prob", 0.1),
        ("layer_norm_eps", 1e-5),
    ):
        assert known.layout.digest == task(change, value).layout.digest
        assert differing_parts(known.fingerprint, task(change, value).fingerprint) == ("structure",)
    # Where it came from, and by which version, is no difference.
    assert known.fingerprint == task("transformers_version", "4.0").fingerprint == task().fingerprint
    with_adapters = task(adapters=lora(lora_alpha=8))
    for changes in (
        {"lora_alpha": 16},
        {"lora_alpha": 8, "lora_dropout": 0.1},
        {"lora_alpha": 8, "use_rslora": True},
    ):
        other = task(adapters=lora(**changes))
        assert differing_parts(with_adapters.fingerprint, other.fingerprint) == ("structure",)
    assert with_adapters.fingerprint == task(adapters=lora(lora_alpha=8)).fingerprint


def products(rows, layout):
    tensors = to_tensors(rows, layout)
    return {
        name: tensors[name.replace("lora_A", "lora_B")] @ tensors[name]
        for name in tensors
        if "lora_A" in name
    }


def trained(averaging, peers=3):
    """Models of peers that each have one class only, after 60 steps of AdamW."""
    task = task_of("classes", adapters=lora(), averaging=averaging)
    data = task.dataset()
    parts = [torch.nonzero(data.train_targets == peer).flatten().numpy() for peer in range(peers)]
    owned = NodeData.partitioned(data.train_inputs, data.train_targets, parts)
    settings = TrainingSettings(batch_size=4, learning_rate=0.02, optimiser="adamw")
    trainer = Trainer.of(task, owned, settings)
    nodes = Nodes.start(
        task.initial_row().repeat(peers, 1), optimiser_state_size=trainer.optimiser_state_size
    )
    return trainer.train(nodes, np.arange(peers), steps=60)[0].rows, task.layout


def error_of(row, rows, layout):
    """How far products are from the mean of products, relative to it."""
    wanted = {name: each.mean(dim=0) for name, each in products(rows, layout).items()}
    got = products(row, layout)
    missing = sum((got[name] - wanted[name]).square().sum() for name in wanted)
    return (missing / sum(each.square().sum() for each in wanted.values())).sqrt().item()


@pytest.mark.slow
def test_averaging_factors_is_not_averaging_products_and_the_alternatives_are():
    rows, layout = trained("frozen_a")
    assert error_of(rows.mean(dim=0), rows, layout) < 1e-5
    rows, layout = trained("factors")
    apart = error_of(rows.mean(dim=0), rows, layout)
    nearest = error_of(averaged_products(rows, torch.full((3,), 1 / 3), layout), rows, layout)
    print(f"factors apart: {apart:.3f}; nearest of rank 4: {nearest:.3f}")
    assert nearest < apart
    assert apart > 0.01


def test_the_nearest_product_is_that_of_the_whole_matrix():
    rows, layout = trained("factors")
    weights = torch.tensor([0.5, 0.3, 0.2])
    got = products(averaged_products(rows, weights, layout), layout)
    for name, each in products(rows, layout).items():
        u, s, v = torch.linalg.svd((weights[:, None, None] * each).sum(dim=0))
        nearest = (u[:, :4] * s[:4]) @ v[:4]
        assert torch.allclose(got[name], nearest, atol=1e-5)
    same = rows[:1].repeat(3, 1)
    alike = products(averaged_products(same, weights, layout), layout)
    for name, each in products(rows[0], layout).items():
        assert torch.allclose(alike[name], each, atol=1e-5)


def test_what_cannot_be_is_refused():
    def headless():
        return transformers.AutoModel.from_config(transformers.BertConfig(**SIZES))

    with pytest.raises(InvalidTask, match="what BertModel predicts is not known"):
        Task.from_transformers(name="x", model=headless, data=lambda: data_of("classes"))
    with pytest.raises(InvalidTask, match="'frozen_a' or 'factors'; got 'products'"):
        task_of("classes", adapters=lora(), averaging="products")
    with pytest.raises(InvalidTask, match="need a common start"):
        task_of("classes", adapters=lora(), start="independent")
    task = task_of("classes")
    with pytest.raises(InvalidTask, match="no low-rank adapters"):
        averaged_products(task.initial_row()[None], torch.ones(1), task.layout)
