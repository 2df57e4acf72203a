# SPDX-License-Identifier: Apache-2.0
"""What one COPY or ADD is about: its sources from wherever they come, and its destination."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from toolkit.build.beside import beside
from toolkit.build.copying import CopyOrder, destination
from toolkit.build.fetch import FetchError, fetch_file, is_url
from toolkit.build.sources import DirectoryTree, Source, find_sources
from toolkit.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from toolkit.build.builder import Bench
    from toolkit.build.instructions import Instruction
    from toolkit.build.lines import Heredoc
    from toolkit.build.sources import SourceTree
    from toolkit.build.stage import StageState

    TreeOf = Callable[[str], Awaitable[SourceTree]]


async def gathered_order(
    bench: Bench, state: StageState, one: Instruction, tree_of: TreeOf
) -> CopyOrder:
    """Return what is to be copied, its sources looked at and fetched.

    Args:
        bench: Of the build.
        state: Of the stage.
        one: The instruction.
        tree_of: Gives the tree of a stage or an image by its name.

    Raises:
        InvalidRequestError: A source is not there or forbidden, or the form is wrong.
        FetchError: A URL cannot be had.
    """
    *asked, last = [state.expand(word) if "<<" not in word else word for word in one.words]
    dest = destination(last, state.working_dir)
    tree: SourceTree = bench.context.tree
    from_ = state.expand(one.flags.get("from", ""))
    if from_:
        tree = await tree_of(from_)
    heredocs = {here.mark: here for here in one.heredocs}
    sources: list[Source] = []
    for path in asked:
        if path in heredocs:
            found = await beside(partial(_write, bench, state, heredocs[path]))
        elif one.word == "ADD" and is_url(path):
            found = await beside(partial(_fetch, bench, path, dest))
        else:
            found = await beside(partial(find_sources, tree, [path], word=one.word))
            found = [replace(source, unpacks=one.word == "ADD") for source in found]
        sources += found
    return CopyOrder(
        word=one.word,
        sources=sources,
        dest=dest,
        chown=state.expand(one.flags.get("chown", "")),
        chmod=state.expand(one.flags.get("chmod", "")),
    )


def _write(bench: Bench, state: StageState, here: Heredoc) -> list[Source]:
    """Return a heredoc as a file."""
    name = here.name
    if "/" in name or name in {".", ".."}:
        raise InvalidRequestError(f"a heredoc's name cannot be a file's name: {name[:80]!r}")
    directory = bench.context.new_dir()
    content = _expanded(state, here.content) if here.expands else here.content
    path = directory / name
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    path.chmod(0o644)
    return find_sources(DirectoryTree(directory), [_literal(name)], word="COPY")


def _expanded(state: StageState, content: str) -> str:
    """Return a heredoc's text with variables; quotes mean nothing in it."""
    quoted = content.replace('"', f'{state.escape}"')
    return state.expand(f'"{quoted}"') if content else ""


def _fetch(bench: Bench, url: str, dest: str) -> list[Source]:
    directory = bench.context.new_dir()
    try:
        fetched = fetch_file(url, directory)
    except FetchError as error:
        raise FetchError(f"ADD failed: {error}") from error
    if not fetched.named and dest.endswith("/"):
        raise InvalidRequestError(f"cannot determine filename from url: {url[:200]}")
    return find_sources(DirectoryTree(directory), [_literal(fetched.name)], word="ADD")


def _literal(name: str) -> str:
    """Return a file's name as a pattern that fits only it."""
    return "".join(f"\\{letter}" if letter in "*?[\\" else letter for letter in name)
