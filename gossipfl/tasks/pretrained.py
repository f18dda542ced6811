"""Bodies of transformers from files on this machine: a configuration and safetensors, and nobody's code."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn.modules import module as registration

from gossipfl.errors import InvalidTask
from gossipfl.extras import is_installed
from gossipfl.tasks.failures import failures_named
from topology.parsing import json_of

__all__ = ["Pretrained", "PretrainedHead", "require_transformers"]

#: What a body is followed by: scores of the next token, of classes, of a class for each token, of hidden tokens,
#: of an image's classes.
PretrainedHead = Literal["next", "classes", "positions", "masked", "images"]

_MAPPINGS: Final = {
    "next": "MODEL_FOR_CAUSAL_LM_MAPPING",
    "classes": "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING",
    "positions": "MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING",
    "masked": "MODEL_FOR_MASKED_LM_MAPPING",
    "images": "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING",
}
_WEIGHTS = re.compile(r"model(-\d{1,6}-of-\d{1,6})?\.safetensors")
_MOST_CONFIGURATION_BYTES = 1 << 20
_LEAST_BOUND = 1 << 20  # numbers in a configuration that any file may have
_MOST_LABELS = 1 << 16
_MOST_PARTS = 1 << 12  # layers and the like: lists are made of them, even where no tensors are
_OF_PARTS = re.compile(r".*(layers?|depths?|experts|stages|blocks|heads)")
_MODULES_A_TENSOR = 8
_FURTHER_TENSORS = 64  # of a head that the file does not have
#: Keys that would run the code of others, or load it.
_CODE = ("auto_map", "custom_pipelines", "quantization_config", "kernel_config", "adapter_config")
#: Keys of models that timm makes, which takes names of a hub, and pickles, in the place of names of models.
_OF_TIMM = ("architecture", "model_args", "use_timm_backbone", "use_pretrained_backbone")
#: Keys that may name code to be downloaded; torch's own is computed instead.
_DROPPED = re.compile(r"_?(attn|experts)_implementation.*")


def require_transformers(*, what: str, library: str = "transformers") -> None:
    """Require a library of the extra ``transformers``.

    Raises
    ------
    InvalidTask
        It is not installed.
    """
    if not is_installed(library):
        raise InvalidTask(
            f"{what} need{'' if what.endswith('s') else 's'} {library}, which is not installed",
            remedy="Install it: pip install 'gossipfl[transformers]'.",
        )


@dataclass(frozen=True)
class Pretrained:
    """A model of transformers from a folder that ``save_pretrained`` wrote, in float32; a factory of modules.

    Reads ``config.json`` and ``model*.safetensors`` and nothing else: no pickle, no code beside the weights,
    nothing from a network. A configuration that would need more memory than the weights beside it is refused
    before any is allocated.

    Parameters
    ----------
    folder : Path
    head : {'next', 'classes', 'positions', 'masked', 'images'}, optional
        By default that of the class that the configuration names. One that the file has no weights of is drawn at
        random.
    """

    folder: Path
    head: PretrainedHead | None = None

    def __call__(self) -> nn.Module:
        """Make a module.

        Raises
        ------
        InvalidTask
            If transformers is missing, a file cannot be read or is none that is allowed, or the weights do not fit
            the configuration.
        """
        require_transformers(what="a pretrained body")
        sizes = self._sizes()
        bound = max(_LEAST_BOUND, sum(size for size in sizes.values()))
        config = self._configuration(bound, max(_MOST_PARTS, 2 * len(sizes)))
        kind = self._class_of(config)
        with self._fitting(), _counting(len(sizes), bound), torch.device("meta"):
            kind(config)
        with self._fitting(), _in_silence():
            module, found = kind.from_pretrained(
                None,
                config=config,
                state_dict=self._tensors(),
                dtype=torch.float32,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
        for name, there, wanted in sorted(found["mismatched_keys"]):
            raise self._unfit(
                f"{name!r} is {tuple(there)} in the file, and {tuple(wanted)} by the configuration"
            )
        base = f"{module.base_model_prefix}."
        if not any(name.startswith(base) for name in module.state_dict()):
            base = ""  # of a body that is named otherwise: then everything is of it
        for what, names in (("lacks", found["missing_keys"]), ("has", found["unexpected_keys"])):
            of_body = sorted(name for name in names if name.startswith(base))
            if of_body:
                raise self._unfit(f"the file {what} {of_body[0]!r}" + _others(of_body))
        made: nn.Module = module
        return made

    def _files(self) -> list[Path]:
        with failures_named(f"the folder of a pretrained body, {self.folder}, cannot be read"):
            names = sorted(each.name for each in self.folder.iterdir())
        found = [self.folder / name for name in names if _WEIGHTS.fullmatch(name)]
        found = [path for path in found if path.is_file()]  # a pipe would be waited for
        if not found:
            raise InvalidTask(
                f"{self.folder} has no weights that are read here",
                expected="model.safetensors",
                got=", ".join(names)[:200] or "an empty folder",
                remedy="Files of pickles are never opened: save the model again, with save_pretrained.",
            )
        return found

    def _sizes(self) -> dict[str, int]:
        """Numbers of each tensor, from the headers alone."""
        sizes: dict[str, int] = {}
        for path in self._files():
            with self._reading(path), safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 - it is no mapping
                    sizes[name] = int(torch.Size(file.get_slice(name).get_shape()).numel())
        return sizes

    def _tensors(self) -> dict[str, Tensor]:
        tensors: dict[str, Tensor] = {}
        for path in self._files():
            with self._reading(path), safe_open(path, framework="pt") as file:
                tensors.update({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        return tensors

    @contextmanager
    def _reading(self, path: Path) -> Iterator[None]:
        try:
            yield
        except (OSError, SafetensorError) as error:
            raise InvalidTask(
                f"{path} is damaged, or no safetensors file", got=str(error)[:200], remedy="Copy it again."
            ) from None

    def _configuration(self, bound: int, parts: int) -> Any:  # noqa: ANN401 - transformers' own
        from transformers import CONFIG_MAPPING, AutoConfig

        path = self.folder / "config.json"
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise InvalidTask(f"{path} cannot be read", expected="a file")
        with failures_named(f"{path} cannot be read"), path.open("rb") as file:
            text = file.read(_MOST_CONFIGURATION_BYTES + 1)
        try:
            if len(text) > _MOST_CONFIGURATION_BYTES:
                raise ValueError(f"more than {_MOST_CONFIGURATION_BYTES} bytes")  # noqa: TRY301
            values = json_of(text)
            if not isinstance(values, dict):
                raise TypeError("no table")  # noqa: TRY301
            values = _without_dropped(values)
        except (ValueError, TypeError, RecursionError) as error:
            raise InvalidTask(
                f"{path} is no configuration", expected="a table in JSON", got=str(error)[:200]
            ) from None
        _require_harmless(values, path, bound, parts)
        kind = values.pop("model_type", None)
        if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
            raise InvalidTask(
                f"{path} is of a model that transformers does not have",
                expected="a model_type of its own, such as gpt2",
                got=repr(kind)[:100],
                remedy="Models that come with code of their own are not read: build yours, and load its weights.",
            )
        with self._fitting(), _in_silence():
            config = AutoConfig.for_model(kind, **values)
            config.dtype = torch.float32
            return config

    def _class_of(self, config: Any) -> Any:  # noqa: ANN401
        import transformers

        names = getattr(config, "architectures", None)
        named = names[0] if names and isinstance(names, list) else None
        classes = {
            head: kind
            for head, mapping in _MAPPINGS.items()
            for kind in [getattr(transformers, mapping).get(type(config), None)]
            if kind is not None
        }
        for head, kind in classes.items():
            if head == self.head or (self.head is None and kind.__name__ == named):
                return kind
        raise InvalidTask(
            f"the body in {self.folder} has no such head",
            expected=f"head = one of {', '.join(classes) or 'none'}",
            got=repr(self.head or named or names)[:100],
        )

    @contextmanager
    def _fitting(self) -> Iterator[None]:
        """Name whatever transformers says of files that do not fit."""
        try:
            yield
        except InvalidTask:
            raise
        except Exception as error:
            raise self._unfit(f"{type(error).__name__}: {error}"[:500]) from error

    def _unfit(self, got: str) -> InvalidTask:
        return InvalidTask(
            f"the weights in {self.folder} do not fit its configuration",
            expected="config.json and safetensors of one model, as save_pretrained writes them",
            got=got,
        )


@contextmanager
def _in_silence() -> Iterator[None]:
    """Without transformers' progress bars and reports: modules are made many times, and errors are named here."""
    from transformers.utils import logging

    level, shows = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shows:
            logging.enable_progress_bar()


def _others(names: list[str]) -> str:
    return f", and {len(names) - 1} more" if len(names) > 1 else ""


def _without_dropped(values: Any) -> Any:  # noqa: ANN401 - of JSON
    """The same without keys that are dropped, in tables within tables too: each is a configuration."""
    if isinstance(values, list):
        return [_without_dropped(each) for each in values]
    if not isinstance(values, dict):
        return values
    return {key: _without_dropped(each) for key, each in values.items() if not _DROPPED.fullmatch(key)}


def _require_harmless(values: Any, path: Path, bound: int, parts: int, of: str = "") -> None:  # noqa: ANN401 - of JSON
    """Refuse keys that run code, and numbers beyond what the weights could need."""
    pairs = values.items() if isinstance(values, Mapping) else enumerate(values)
    for key, value in list(pairs):
        name = key if isinstance(key, str) else of
        of_timm = key == "model_type" and str(value).startswith("timm")
        if (key in (*_CODE, *_OF_TIMM) and value) or of_timm:
            raise InvalidTask(
                f"{path} asks for code or files besides itself",
                expected="a model of transformers in full precision",
                got=f"the key {key!r}",
                remedy="Build the model in a function of your own, if you trust where it comes from.",
            )
        if isinstance(value, Mapping | list):
            _require_harmless(value, path, bound, parts, name)
        most = _MOST_LABELS if key == "num_labels" else parts if _OF_PARTS.fullmatch(name) else bound
        if isinstance(value, int) and abs(value) > most:
            raise InvalidTask(
                f"{path} asks for more than the weights beside it have",
                expected=f"numbers up to {most}",
                got=f"{name} = {value}"[:100],
            )


@contextmanager
def _counting(tensors: int, numbers: int) -> Iterator[None]:
    """Stop a constructor, which allocates nothing yet, at more tensors or numbers than a file can be meant for."""
    thread, count, size, modules = threading.get_ident(), 0, 0, 0
    most, most_numbers = 2 * tensors + _FURTHER_TENSORS, 2 * numbers

    def counted(_: nn.Module, name: str, tensor: Tensor | None) -> None:
        nonlocal count, size
        if threading.get_ident() != thread or tensor is None:
            return
        count, size = count + 1, size + tensor.numel()
        if count > most or size > most_numbers:
            raise InvalidTask(
                "a configuration asks for more than the weights beside it have",
                expected=f"about {tensors} tensors of {numbers} numbers together",
                got=f"{count} of {size} and more, at {name!r}",
            )

    def counted_module(_: nn.Module, name: str, module: nn.Module | None) -> None:
        nonlocal modules
        if threading.get_ident() != thread or module is None:
            return
        modules += 1
        if modules > _MODULES_A_TENSOR * most:
            raise InvalidTask(
                "a configuration asks for more than the weights beside it have",
                expected=f"about {tensors} tensors",
                got=f"{modules} modules and more, at {name!r}",
            )

    handles = [
        registration.register_module_module_registration_hook(counted_module),
        registration.register_module_parameter_registration_hook(counted),
        registration.register_module_buffer_registration_hook(counted),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
