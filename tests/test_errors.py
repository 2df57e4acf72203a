# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import importlib
import pkgutil

from toolkit import errors


def test_every_error_is_taken_from_the_package() -> None:
    """Which module of it holds one is nobody's business."""
    modules = [
        importlib.import_module(f"toolkit.errors.{found.name}")
        for found in pkgutil.iter_modules(errors.__path__)
    ]
    held = {
        name
        for module in modules
        for name, thing in vars(module).items()
        if isinstance(thing, type) and thing.__module__ == module.__name__
    }
    assert held == set(errors.__all__)
    assert all(issubclass(getattr(errors, name), errors.ToolkitError) for name in held)


def test_what_is_not_there_is_named_in_dockers_words() -> None:
    kinds = (errors.ContainerNotFoundError, errors.NetworkNotFoundError)
    found = [kind("a{}b") for kind in kinds]
    assert [str(error) for error in found] == ["No such container: a{}b", "network a{}b not found"]
    assert {error.reference for error in found} == {"a{}b"}
