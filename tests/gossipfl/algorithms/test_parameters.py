"""Parameters of algorithms that a program makes: of another kind, they are refused by name, as in files."""

import dataclasses

import pytest

from gossipfl.algorithms.declaration import parameters_of
from gossipfl.algorithms.registry import bundled
from gossipfl.errors import SettingError

PARAMETERS = [(declared, each) for declared in bundled().values() for each in parameters_of(declared)]
REQUIRED = {"degree": 1}


@pytest.mark.parametrize(
    ("declared", "parameter"), PARAMETERS, ids=lambda each: getattr(each, "name", "") or each.__name__
)
def test_a_parameter_of_another_kind_is_named(declared, parameter):
    required = {
        field.name: REQUIRED[field.name]
        for field in dataclasses.fields(declared)
        if field.default is field.default_factory is dataclasses.MISSING
    }
    for wrong in (object(), "sideways", [1], {}):
        with pytest.raises(SettingError, match=rf"{parameter.name} is of another kind; expected .*; got"):
            declared(**{**required, parameter.name: wrong})
    assert declared(**required)
