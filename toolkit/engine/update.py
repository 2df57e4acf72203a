# SPDX-License-Identifier: Apache-2.0
"""What becomes of a container's record when its limits or its restart policy are changed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from toolkit.engine.limits import check_limits, downgraded
from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from toolkit.engine.limits import HostLimits
    from toolkit.engine.model import ContainerRecord, Limits, RestartPolicy


def updated(
    record: ContainerRecord, limits: Limits, policy: RestartPolicy | None, host: HostLimits
) -> tuple[ContainerRecord, list[str]]:
    """Return the changed record, and a warning for each limit that this host lacks.

    Args:
        record: As it is.
        limits: Those that are changed; what has its default stays as it is.
        policy: None: stays.
        host: What this host can limit.

    Raises:
        InvalidRequestError: The result cannot be.
    """
    spec = record.spec
    changes = {
        name: getattr(limits, name)
        for name, field in limits.__dataclass_fields__.items()
        if getattr(limits, name) != field.default
    }
    wanted = replace(spec.limits, **changes)
    check_limits(wanted)
    wanted, warnings = downgraded(wanted, host)
    if policy is not None and spec.host.auto_remove and policy.name != "no":
        raise InvalidRequestError(
            "Restart policy cannot be updated because AutoRemove is enabled for the container"
        )
    options = replace(spec.host, restart_policy=policy or spec.host.restart_policy)
    return replace(record, spec=replace(spec, limits=wanted, host=options)), warnings
