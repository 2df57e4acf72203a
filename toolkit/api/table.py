# SPDX-License-Identifier: Apache-2.0
"""Every route of this API, with and without ``/v1.N`` in front."""

from __future__ import annotations

from typing import Final

from toolkit.api.router import Route, delete, get, head, post, put
from toolkit.api.routes import (
    archives,
    builds,
    containers,
    execs,
    extensions,
    images,
    networks,
    processes,
    streams,
    system,
    transfers,
    volumes,
)
from toolkit.api.routes.unavailable import unavailable

ROUTES: Final[tuple[Route, ...]] = (
    get("/_ping", system.ping),
    head("/_ping", system.ping),
    get("/version", system.version),
    get("/info", system.info),
    get("/events", streams.events),
    get("/system/df", system.disk_usage),
    post("/auth", transfers.log_in),
    # containers
    get("/containers/json", containers.list_),
    get("/containers/ps", containers.list_),
    post("/containers/create", containers.create),
    post("/containers/prune", containers.prune),
    get("/containers/{name}/json", containers.inspect),
    get("/containers/{name}/logs", streams.logs),
    get("/containers/{name}/top", processes.top),
    get("/containers/{name}/stats", processes.stats),
    get("/containers/{name}/changes", archives.changes),
    get("/containers/{name}/export", archives.export),
    get("/containers/{name}/archive", archives.copy_out),
    head("/containers/{name}/archive", archives.stat_path),
    put("/containers/{name}/archive", archives.copy_in),
    get("/containers/{name}/attach/ws", unavailable("attaching through a websocket is")),
    post("/containers/{name}/start", containers.start),
    post("/containers/{name}/stop", containers.stop),
    post("/containers/{name}/restart", containers.restart),
    post("/containers/{name}/kill", containers.kill),
    post("/containers/{name}/pause", containers.pause),
    post("/containers/{name}/unpause", containers.unpause),
    post("/containers/{name}/rename", containers.rename),
    post("/containers/{name}/resize", containers.resize),
    post("/containers/{name}/update", containers.update),
    post("/containers/{name}/attach", streams.attach),
    post("/containers/{name}/wait", streams.wait, cancels=True),
    post("/containers/{name}/exec", execs.create),
    get("/containers/{name}/listening", extensions.wait_listening),
    delete("/containers/{name:*}", containers.remove),
    # execs
    post("/exec/{name}/start", execs.start),
    post("/exec/{name}/resize", execs.resize),
    get("/exec/{name}/json", execs.inspect),
    # images
    get("/images/json", images.list_),
    post("/images/create", images.create),
    post("/images/prune", images.prune),
    post("/images/load", transfers.load),
    get("/images/get", transfers.save),
    get("/images/search", transfers.search),
    get("/images/{name:*}/json", images.inspect),
    get("/images/{name:*}/history", images.show_history),
    get("/images/{name:*}/get", transfers.save_one),
    post("/images/{name:*}/tag", images.tag),
    post("/images/{name:*}/push", transfers.push, cancels=True),
    delete("/images/{name:*}", images.remove),
    get("/distribution/{name:*}/json", transfers.distribution),
    post("/commit", archives.commit),
    post("/build", builds.build, cancels=True),
    post("/build/prune", builds.prune),
    # networks and volumes
    get("/networks", networks.list_),
    get("/networks/{name:*}", networks.inspect),
    post("/networks/create", unavailable("creating networks is")),
    get("/volumes", volumes.list_),
    post("/volumes/create", volumes.create),
    post("/volumes/prune", volumes.prune),
    get("/volumes/{name}", volumes.inspect),
    delete("/volumes/{name}", volumes.remove),
    # beyond docker
    get("/toolkit", extensions.describe),
    post("/toolkit/sessions", extensions.open_session),
    post("/toolkit/sessions/prune", extensions.prune_sessions),
    post("/toolkit/leases", extensions.open_lease),
)
