# SPDX-License-Identifier: Apache-2.0
"""Names of a container on a network: what they may be, and what says so."""

from __future__ import annotations

import pytest

from toolkit.engine.model import EndpointSpec
from toolkit.engine.network_validation import check_endpoint
from toolkit.errors import InvalidRequestError


def test_an_alias_may_have_an_underscore_inside_or_at_an_end() -> None:
    spec = EndpointSpec(aliases=("db_1", "_db", "a" * 63))
    assert check_endpoint(spec, None) is spec


@pytest.mark.parametrize("alias", ["a b_c", "a;b", "$(id)", "-j ACCEPT", "a\nCOMMIT", "a" * 64])
def test_another_alias_is_refused_as_it_was_given_with_the_remedy(alias: str) -> None:
    """Row S-85, and length: a label of DNS."""
    with pytest.raises(InvalidRequestError) as refused:
        check_endpoint(EndpointSpec(aliases=(alias,)), None)
    assert repr(alias)[:80] in str(refused.value)
    assert "use letters, digits, '_'" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_empty_alias_is_none() -> None:
    with pytest.raises(InvalidRequestError, match="invalid network alias: it is empty"):
        check_endpoint(EndpointSpec(aliases=("",)), None)
