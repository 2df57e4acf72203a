# SPDX-License-Identifier: Apache-2.0
"""What `docker rmi` takes away, and what stands against it (api-and-cli 3.8).

Decides and changes the values in memory; the store writes them down. The rules
and messages are those of moby's ``daemon/images/image_delete.go``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from toolkit.errors import ImageInUseError
from toolkit.images.image import Image, ImageId, is_image_id
from toolkit.images.references import Reference

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from toolkit.images.tags import TagFile

_SHORT = 12


@dataclass(frozen=True, kw_only=True)
class ImageUser:
    """A container made of an image."""

    container_id: str
    is_running: bool


@dataclass(frozen=True, kw_only=True)
class Removed:
    """One name that was taken away, or one image or layer that was deleted.

    Attributes:
        name: A familiar name, or the id of an image or layer.
        image_id: Whose name, or which image; None for a layer.
    """

    action: Literal["untagged", "deleted"]
    name: str
    image_id: ImageId | None = None


@dataclass(frozen=True)
class _Conflict:
    """Why an image cannot be deleted; a hard one cannot be forced."""

    image_id: ImageId
    reason: str
    is_hard: bool = False
    is_used: bool = False

    def error(self) -> ImageInUseError:
        force = "cannot be forced" if self.is_hard else "must be forced"
        return ImageInUseError(
            f"conflict: unable to delete {_short(self.image_id)} ({force}) - {self.reason}"
        )


class Removal:
    """One removal, from the question to the list of what is gone."""

    def __init__(
        self,
        images: dict[ImageId, Image],
        tags: TagFile,
        users: Callable[[ImageId], Sequence[ImageUser]],
    ) -> None:
        self._images = images
        self._tags = tags
        self._users = users
        self.removed: list[Removed] = []

    def remove(self, image_id: ImageId, text: str, *, force: bool, noprune: bool) -> None:
        """Take away what *text*, which was resolved to *image_id*, asks for.

        Raises:
            ImageInUseError: Something stands against it.
        """
        names = self._tags.references(image_id)
        asked = self._name_in(image_id, text)
        if asked is not None:
            self._refuse_last_name_of_used(image_id, text, names, force=force)
            self._untag_one(image_id, asked, names)
            if self._tags.references(image_id):
                return
        elif _is_single(names):
            self._refuse(image_id, force=force, ignore_names=True)
            for name in names:
                self._untag(image_id, name)
        self._delete(image_id, force=force, prune=not noprune, quiet=asked is not None)

    def _name_in(self, image_id: ImageId, text: str) -> Reference | None:
        """Return the name that was asked for; None if the text is (a part of) the id."""
        if is_image_id(text) or is_image_id(f"sha256:{text}"):
            return None
        name = Reference.parse(text).with_default_tag()
        is_prefix = image_id.removeprefix("sha256:").startswith(text.removeprefix("sha256:"))
        return None if is_prefix and name.canonical not in self._tags.tags else name

    def commit(self, forget: Callable[[ImageId], None]) -> None:
        """Write the names down, then call *forget* for each image that is gone."""
        if not self.removed:
            return
        self._tags.save()
        for removed in self.removed:
            if removed.action == "deleted" and removed.image_id is not None:
                forget(removed.image_id)

    def _refuse_last_name_of_used(
        self, image_id: ImageId, text: str, names: list[Reference], *, force: bool
    ) -> None:
        users = self._users(image_id)
        if force or not users or not _is_single(names):
            return
        raise ImageInUseError(
            f'conflict: unable to remove repository reference "{text}" (must force) - '
            f"container {_short(users[0].container_id)} is using its referenced image "
            f"{_short(image_id)}"
        )

    def _untag_one(self, image_id: ImageId, asked: Reference, names: list[Reference]) -> None:
        """Remove one name; with the last tag of a repository its digests go too."""
        canonical = asked.canonical
        if canonical not in self._tags.tags:  # asked as name:<id>, or with a tag and a digest
            same = [name for name in names if name.name == asked.name]
            asked = next((name for name in same if name.digest == asked.digest), same[0])
        self._untag(image_id, asked)
        if asked.digest is not None:
            return
        left = [name for name in self._tags.references(image_id) if name.name == asked.name]
        if all(name.digest is not None for name in left):
            for name in left:
                self._untag(image_id, name)

    def _untag(self, image_id: ImageId, name: Reference) -> None:
        del self._tags.tags[name.canonical]
        self.removed.append(Removed(action="untagged", name=name.familiar, image_id=image_id))

    def _delete(self, image_id: ImageId, *, force: bool, prune: bool, quiet: bool) -> None:
        conflict = self._conflict(image_id, force=force)
        if conflict is not None:
            if quiet and (conflict.is_used or not self._is_dangling(image_id)):
                return
            raise conflict.error()
        for name in self._tags.references(image_id):
            self._untag(image_id, name)
        parent = self._tags.parents.pop(image_id, None)
        del self._images[image_id]
        self.removed.append(Removed(action="deleted", name=image_id, image_id=image_id))
        if prune and parent in self._images:
            self._delete(parent, force=False, prune=True, quiet=True)

    def _refuse(self, image_id: ImageId, *, force: bool, ignore_names: bool) -> None:
        conflict = self._conflict(image_id, force=force, ignore_names=ignore_names)
        if conflict is not None:
            raise conflict.error()

    def _conflict(
        self, image_id: ImageId, *, force: bool, ignore_names: bool = False
    ) -> _Conflict | None:
        if self._children(image_id):
            return _Conflict(image_id, "image has dependent child images", is_hard=True)
        users = self._users(image_id)
        for user in users:
            if user.is_running:
                reason = f"image is being used by running container {_short(user.container_id)}"
                return _Conflict(image_id, reason, is_hard=True, is_used=True)
        if force:
            return None
        if not ignore_names and self._tags.references(image_id):
            return _Conflict(image_id, "image is referenced in multiple repositories")
        if users:
            reason = f"image is being used by stopped container {_short(users[0].container_id)}"
            return _Conflict(image_id, reason, is_used=True)
        return None

    def _children(self, image_id: ImageId) -> list[ImageId]:
        return [child for child in self._tags.children(image_id) if child in self._images]

    def _is_dangling(self, image_id: ImageId) -> bool:
        return not self._tags.references(image_id) and not self._children(image_id)


def _is_single(names: list[Reference]) -> bool:
    """Tell whether the names are one tag at most, all in one repository."""
    if len(names) <= 1:
        return True
    tagged = [name for name in names if name.digest is None]
    if len(tagged) > 1:
        return False
    digest_names = {name.name for name in names if name.digest is not None}
    only = (tagged or names)[0]
    return digest_names == {only.name}


def _short(identity: str) -> str:
    return identity.removeprefix("sha256:")[:_SHORT]
