# SPDX-License-Identifier: Apache-2.0
"""`toolkit image bootstrap`: a first image, without a registry."""

from __future__ import annotations

import click

from toolkit.bootstrap import IMAGE_KINDS, bootstrap_image
from toolkit.cli.access import EngineAccess, pass_access
from toolkit.cli.command import command
from toolkit.cli.output import say


@command("bootstrap")
@click.option("--tag", "reference", default="", help="Name of the image instead of its kind's.")
@click.option("--suite", default="", help="debian only: its release.")
@click.option("--mirror", default="", help="debian only: where its packages come from.")
@click.argument("kind", type=click.Choice(IMAGE_KINDS))
@pass_access
def bootstrap(access: EngineAccess, kind: str, *, reference: str, suite: str, mirror: str) -> None:
    """Build an image from this machine: its static busybox, or mmdebstrap's packages."""
    say(
        bootstrap_image(
            access.client, kind, reference=reference or f"{kind}:latest", suite=suite, mirror=mirror
        )
    )
