"""The attack section of a scenario, derived from the attacks' declarations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model, model_validator

from gossipfl.algorithms.declaration import parameters_of
from gossipfl.algorithms.file_form import Settings, settings_model, with_settings
from gossipfl.attacks import Attack, Poisoned, attack_names, find_attack
from gossipfl.attacks.registry import bundled
from gossipfl.errors import GossipflError
from sims.scenario.declared import class_named_in, made
from sims.scenario.network import Section
from sims.scenario.tables import mistake_at

__all__ = ["AttackSection"]


class AttackSection(Section):
    """Hostile nodes: which, what they do and from when. The other keys are the attack's parameters."""

    model_config = ConfigDict(extra="allow")

    name: str = Field(description="an attack (see the table of attacks), or package.module:Class")
    nodes: list[Annotated[int, Field(ge=0)]] | None = Field(None, description="numbers of the hostile nodes")
    count: int | None = Field(None, ge=0, description="instead: how many nodes are hostile")
    share: float | None = Field(None, ge=0, lt=1, description="instead: which share of the nodes is hostile")
    place: Literal["random", "last", "highest_degree", "lowest_degree"] = Field(
        "random",
        description="which nodes those are: drawn at random, the last ones, or by how many neighbours they have",
    )
    from_round: float = Field(
        0.0, ge=0, description="round in which the attack begins; hostile nodes are honest until then"
    )
    modules: Path | None = Field(None, exclude=True, description="directory of modules: the scenario's")

    @model_validator(mode="before")
    @classmethod
    def _as_declared(cls, values: Any) -> Any:
        """Check the parameters, and fill in those not given."""
        if not isinstance(values, dict):
            return values
        declared = class_named_in(values, find=find_attack, names=attack_names)
        _require_own_names(values["name"], declared, cls.model_fields)
        own = {key: value for key, value in values.items() if key in cls.model_fields}
        settings = settings_model(declared).model_validate(
            {key: value for key, value in values.items() if key not in own}
        )
        made(declared, settings)
        if issubclass(declared, Poisoned) and values.get("from_round"):
            raise mistake_at(
                ("from_round",),
                f"{values['name']} is in the data, so it is there from the start: leave from_round out",
                values["from_round"],
            )
        return {**own, **settings.model_dump()}

    @model_validator(mode="after")
    def _says_which_nodes(self) -> AttackSection:
        given = [key for key in ("nodes", "count", "share") if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError(
                f"one of nodes, count and share says who is hostile, got {' and '.join(given) or 'none of them'}"
            )
        if self.nodes is not None and self.place != "random":
            raise ValueError("place is for count and share: nodes already says where the hostile nodes are")
        return self

    @classmethod
    def variants(cls) -> list[type[BaseModel]]:
        """Models of the parameters of all bundled attacks."""
        return [settings_model(each) for each in bundled().values()]

    @classmethod
    def variant_of(cls, table: Mapping[str, Any]) -> type[BaseModel] | None:
        """Model of the keys of the table of the attack that it names."""
        try:
            declared = find_attack(table["name"], directory=table.get("modules"))
        except GossipflError:
            return None
        own: Any = {key: (field.annotation, field) for key, field in cls.model_fields.items()}
        return settings_model(declared, base=create_model("OwnKeys", __base__=Settings, **own))

    def build(self) -> Attack:
        """Make the attack."""
        declared = find_attack(self.name, directory=self.modules)
        return with_settings(declared, settings_model(declared).model_validate(self.model_extra or {}))


def _require_own_names(name: str, declared: type[Attack], taken: Iterable[str]) -> None:
    both = {each.name for each in parameters_of(declared)} & set(taken)
    if both:
        raise mistake_at(
            ("name",), f"the attack has a parameter {min(both)!r}, which is a key of the table itself", name
        )
