"""Bodies from folders: only configurations and safetensors are read, and what does not fit is named."""

import json
import shutil
import struct
from unittest.mock import patch

import pytest
import torch
from safetensors.torch import load_file, save_file

from gossipfl.errors import InvalidTask
from gossipfl.tasks import Dataset, Task
from gossipfl.tasks.pretrained import Pretrained, _counting

transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")

SIZES = {"n_embd": 16, "n_layer": 2, "n_head": 2, "vocab_size": 30, "n_positions": 12}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A language model, and the folder that transformers wrote of it."""
    folder = tmp_path_factory.mktemp("saved")
    torch.manual_seed(0)
    module = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(**SIZES, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0)
    )
    module.save_pretrained(folder)
    return module, folder


@pytest.fixture
def folder(saved, tmp_path):
    """A copy of it to be spoilt."""
    shutil.copytree(saved[1], tmp_path / "body")
    return tmp_path / "body"


def configure(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_body_is_what_was_saved_and_nothing_is_said(saved, capfd):
    module, folder = saved
    capfd.readouterr()
    again = Pretrained(folder)()
    assert type(again) is type(module)
    for (name, here), there in zip(again.state_dict().items(), module.state_dict().values(), strict=True):
        assert torch.equal(here, there), name
    assert "".join(capfd.readouterr()) == ""
    classifier = Pretrained(folder, "classes")()
    assert torch.equal(classifier.transformer.wte.weight, module.transformer.wte.weight)


def test_a_folder_makes_a_task_with_its_adapters(saved):
    ids = torch.randint(0, 30, (8, 12), generator=torch.Generator().manual_seed(0))
    data = Dataset(
        train_inputs={"input_ids": ids}, train_targets=ids, test_inputs={"input_ids": ids}, test_targets=ids
    )

    def task(**lora):
        lora = {"r": 2, "target_modules": ["c_attn"], "fan_in_fan_out": True, **lora}
        return Task.from_transformers(
            name="x", model=str(saved[1]), data=lambda: data, adapters=peft.LoraConfig(**lora)
        )

    found = task().evaluate(task().initial_row()[None], {"input_ids": ids}, ids)
    loss = saved[0].eval()(input_ids=ids, labels=ids).loss
    assert found["loss"].item() == pytest.approx(loss.item(), rel=1e-5)
    assert found["perplexity"].item() == pytest.approx(loss.exp().item(), rel=1e-5)
    with pytest.raises(InvalidTask, match=r"fit no layer.*among c_attn, c_fc, c_proj, .*got.*'query'"):
        task(target_modules=["query"])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"auto_map": {"AutoModel": "evil.Model"}}, "asks for code or files.*'auto_map'"),
        ({"sub": [{"quantization_config": {"a": 1}}]}, "asks for code or files.*'quantization_config'"),
        ({"model_type": "timm_wrapper"}, "asks for code or files.*'model_type'"),
        ({"vision_config": {"architecture": "hf-hub:evil/model"}}, "asks for code or files.*'architecture'"),
        ({"sub": {"model_args": {"checkpoint_path": "x"}}}, "asks for code or files.*'model_args'"),
        ({"model_type": "evil"}, "transformers does not have.*'evil'"),
        ({"model_type": ["gpt2"]}, "transformers does not have"),
        ({"architectures": ["Evil"]}, "no such head.*next.*'Evil'"),
        ({"architectures": {"a": 1}}, "no such head.*'a'"),
        ({"architectures": 5}, "no such head.*got 5"),
        ({"n_inner": 10**12}, r"expected numbers up to 1048576; got n_inner = 1000000000000"),
        ({"n_layer": 10**6}, r"expected numbers up to 4096; got n_layer = 1000000"),
        ({"sub": [{"depths": [1, 10**6]}]}, r"expected numbers up to 4096; got depths = 1000000"),
        ({"n_layer": 4000}, "more than the weights beside it have.*about 28 tensors"),
        ({"n_embd": 10**6}, "more than the weights beside it have"),
        ({"num_labels": 10**6}, "expected numbers up to 65536"),
        ({"n_layer": 3}, r"the file lacks 'transformer\.h\.2\.attn\.c_attn\.bias', and 11 more"),
        ({"n_layer": 1}, r"the file has 'transformer\.h\.1\."),
        ({"n_embd": 18}, r"is \(48,\) in the file, and \(54,\)"),
        ({"activation_function": "evil"}, "do not fit its configuration.*'evil'"),
        ({"dtype": "os.system"}, "do not fit its configuration"),
    ],
)
def test_configurations_that_do_not_fit_or_ask_for_code_are_refused(folder, values, said):
    configure(folder, **values)
    with pytest.raises(InvalidTask, match=said):
        Pretrained(folder)()


def test_a_body_that_is_named_otherwise_is_wholly_wanted(folder, monkeypatch):
    """As models within models are, whose prefix no tensor's name begins with: what is missing would be drawn."""
    monkeypatch.setattr(transformers.GPT2LMHeadModel, "base_model_prefix", "elsewhere")
    assert Pretrained(folder)()
    configure(folder, n_layer=3)
    with pytest.raises(InvalidTask, match=r"the file lacks 'transformer\.h\.2"):
        Pretrained(folder)()


def test_modules_without_tensors_are_counted_too(folder):
    class Deep(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = torch.nn.ModuleList(torch.nn.Identity() for _ in range(1_000))

    with pytest.raises(InvalidTask, match=r"asks for more.*modules and more"), _counting(3, 100):
        Deep()
    Deep()  # elsewhere nothing is counted


def forged(folder, header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)


FORGED = {
    "no header": lambda folder: (folder / "model.safetensors").write_bytes(b"\xff" * 8),
    "a header that is not there": lambda folder: (folder / "model.safetensors").write_bytes(
        struct.pack("<Q", 2**40) + b"{}"
    ),
    "a huge tensor": lambda folder: forged(
        folder, {"a": {"dtype": "F32", "shape": [2**40, 2**20], "data_offsets": [0, 2**62]}}
    ),
    "a huge tensor of nothing": lambda folder: forged(
        folder, {"transformer.wte.weight": {"dtype": "F32", "shape": [0, 2**60], "data_offsets": [0, 0]}}
    ),
    "places beyond the file": lambda folder: forged(
        folder, {"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}, bytes(8)
    ),
    "places backwards": lambda folder: forged(
        folder, {"a": {"dtype": "F32", "shape": [4], "data_offsets": [16, 0]}}, bytes(16)
    ),
    "one place twice": lambda folder: forged(
        folder, {name: {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]} for name in "ab"}, bytes(16)
    ),
    "one name twice": lambda folder: forged(
        folder,
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}',
        bytes(8),
    ),
    "numbers of no kind": lambda folder: forged(
        folder, {"a": {"dtype": "F4", "shape": [8], "data_offsets": [0, 4]}}, bytes(4)
    ),
    "a deep header": lambda folder: forged(folder, b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "a deep configuration": lambda folder: (folder / "config.json").write_text("[" * 300_000),
    "a nested configuration": lambda folder: configure(folder, sub=nested(900)),
    "a long number": lambda folder: (folder / "config.json").write_text('{"n_layer": ' + "9" * 10_000 + "}"),
    "no number": lambda folder: (folder / "config.json").write_text(
        '{"model_type": "gpt2", "n_embd": NaN, "architectures": ["GPT2LMHeadModel"]}'
    ),
}


def nested(depth):
    value = 1
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize("how", FORGED)
def test_files_that_were_forged_are_named(folder, how):
    FORGED[how](folder)
    with pytest.raises(
        InvalidTask, match=r"damaged|no configuration|do not fit|cannot be read|asks for more"
    ):
        Pretrained(folder)()


def test_an_index_of_files_is_not_followed(folder):
    index = {"weight_map": {"transformer.wte.weight": "../../../../etc/passwd"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    for name in ("tokenizer.json", "generation_config.json", "modeling_evil.py"):
        (folder / name).write_text("evil(")
    assert Pretrained(folder)()


def test_names_of_code_to_download_are_not_followed(folder):
    names = {"_attn_implementation": "evil/kernels", "attn_implementation": "evil/kernels"}
    configure(folder, **names, sub={"inner": [{**names, "kept": 1}]})
    config = Pretrained(folder)().config
    assert config._attn_implementation == "sdpa"
    assert config.sub == {"inner": [{"kept": 1}]}


def test_pickles_are_not_opened(folder):
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    with (
        patch("torch.load", side_effect=AssertionError),
        pytest.raises(
            InvalidTask, match=r"expected model\.safetensors; got .*pytorch_model\.bin.*never opened"
        ),
    ):
        Pretrained(folder)()


def test_weights_may_lie_in_several_files(saved, folder):
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    for number in range(2):
        part = {name: weights[name] for name in sorted(weights)[number::2]}
        save_file(part, folder / f"model-{number + 1:05}-of-00002.safetensors")
    again = Pretrained(folder)()
    assert torch.equal(again.transformer.wpe.weight, saved[0].transformer.wpe.weight)


def test_files_that_cannot_be_read_are_named(folder, tmp_path):
    with pytest.raises(InvalidTask, match=r"nowhere, cannot be read.*FileNotFoundError"):
        Pretrained(tmp_path / "nowhere")()
    for text in ("{", "[1]", " " * (1 << 20 | 1), "[" * 100_000, '{"a": ' + "[" * 900 + "]" * 900 + "}"):
        (folder / "config.json").write_text(text)
        with pytest.raises(InvalidTask, match=r"config\.json is no configuration"):
            Pretrained(folder)()
    (folder / "config.json").unlink()
    with pytest.raises(InvalidTask, match=r"config\.json cannot be read"):
        Pretrained(folder)()
    (folder / "config.json").symlink_to("/dev/null")
    with pytest.raises(InvalidTask, match=r"config\.json cannot be read; expected a file"):
        Pretrained(folder)()
    (folder / "model.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(InvalidTask, match="damaged, or no safetensors"):
        Pretrained(folder)()


@pytest.mark.parametrize("library", ["transformers", "peft"])
def test_missing_libraries_are_named(saved, library):
    with (
        patch("gossipfl.tasks.pretrained.is_installed", lambda name: name != library),
        pytest.raises(
            InvalidTask, match=rf"need.* {library}, which is not installed.*gossipfl\[transformers\]"
        ),
    ):
        Task.from_transformers(
            name="x",
            model=saved[1],
            data=lambda: None,
            adapters=peft.LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True),
        )
