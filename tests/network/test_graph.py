# SPDX-License-Identifier: Apache-2.0
"""The graph of names."""

from __future__ import annotations

import threading

import pytest

from toolkit.errors import ConflictError, NotFoundError
from toolkit.network.graph import Graph, depth_of, sorted_by_depth


@pytest.fixture
def graph() -> Graph:
    return Graph()


@pytest.fixture
def webapp(graph: Graph) -> Graph:
    graph.set("/webapp", "1")
    graph.set("/db", "2")
    graph.set("/logs", "4")
    graph.set("/db/logs", "4")
    graph.set("/sentry", "3")
    graph.set("/webapp/sentry", "3")
    graph.set("/webapp/db", "2")
    return graph


def test_a_new_graph_has_a_root(graph: Graph) -> None:
    """Rows RT-113, RT-114 and RT-115."""
    assert graph.get("/") == "0"
    assert graph.exists("/")


def test_an_entity_may_have_two_names(graph: Graph) -> None:
    """Rows RT-116 and RT-131."""
    graph.set("/test", "1")
    graph.set("/other", "1")
    seen: list[tuple[str, str]] = []
    graph.walk("/", lambda path, entity_id: seen.append((path, entity_id)))
    assert seen == [("/test", "1"), ("/other", "1")]


def test_a_path_is_taken_once_and_its_loser_leaves_no_trace(graph: Graph) -> None:
    """Row RT-117."""
    graph.set("/foo", "42")
    with pytest.raises(ConflictError):
        graph.set("/foo", "43")
    assert graph.get("/foo") == "42"
    assert graph.refs("43") == 0


def test_set_returns_the_entity(graph: Graph) -> None:
    """Row RT-118."""
    assert graph.set("/db", "1") == "1"


def test_all_children_of_the_root_are_listed(graph: Graph) -> None:
    """Row RT-119."""
    for number in range(1, 6):
        graph.set(f"/{number}", str(number))
    assert len(graph.descendants("/", -1)) == 5


def test_depth_limits_what_is_listed(webapp: Graph) -> None:
    """Row RT-120."""
    assert set(webapp.descendants("/webapp", 1)) == {
        "/webapp/sentry",
        "/webapp/db",
        "/webapp/db/logs",
    }
    assert len(webapp.descendants("/webapp", 0)) == 2


def test_an_entity_is_not_put_below_itself(graph: Graph) -> None:
    """Row RT-121."""
    graph.set("/test", "1")
    with pytest.raises(ConflictError, match="Cannot set self as child"):
        graph.set("/test/other", "1")


def test_a_parent_must_exist(graph: Graph) -> None:
    """Row RT-122: and nothing is left of the new entity."""
    graph.set("/myapp", "1")
    with pytest.raises(NotFoundError, match="Cannot find child for /myapp/proxy"):
        graph.set("/myapp/proxy/db", "2")
    assert graph.refs("2") == 0
    assert graph.descendants("/") == {"/myapp": "1"}


def test_walk_visits_shared_entities_under_each_path(webapp: Graph) -> None:
    """Row RT-123."""
    paths: list[str] = []
    webapp.walk("/", lambda path, _entity_id: paths.append(path))
    assert len(paths) == len(set(paths)) == 8


def test_walk_stops_at_the_first_error_and_leaves_the_graph_unlocked(webapp: Graph) -> None:
    seen: list[str] = []

    def visit(path: str, _entity_id: str) -> None:
        seen.append(path)
        webapp.get(path)
        raise LookupError

    with pytest.raises(LookupError):
        webapp.walk("/", visit)
    assert len(seen) == 1


def test_a_path_leads_through_shared_entities(webapp: Graph) -> None:
    """Row RT-124."""
    assert webapp.get("/webapp/db/logs") == "4"


def test_paths_of_a_list_can_be_used(webapp: Graph) -> None:
    """Row RT-125."""
    assert all(webapp.get(path) == entity_id for path, entity_id in webapp.descendants("/").items())


@pytest.mark.parametrize("root", ["/", "", "//"])
def test_the_root_cannot_be_deleted(graph: Graph, root: str) -> None:
    """Row RT-126."""
    with pytest.raises(ConflictError, match="Cannot delete root entity"):
        graph.delete(root)
    with pytest.raises(ConflictError):
        graph.purge("0")


def test_delete_removes_one_path_and_keeps_the_entity(webapp: Graph) -> None:
    """Row RT-127."""
    webapp.delete("/webapp/sentry")
    assert not webapp.exists("/webapp/sentry")
    assert webapp.get("/sentry") == "3"


def test_deleting_a_missing_path_is_no_error_but_its_parent_must_exist(graph: Graph) -> None:
    graph.delete("/nothing")
    with pytest.raises(NotFoundError):
        graph.delete("/nothing/below")


def test_refs_counts_paths(webapp: Graph) -> None:
    """Row RT-128."""
    assert webapp.refs("1") == 1
    assert webapp.refs("2") == 2


def test_purge_returns_how_many_paths_led_there(webapp: Graph) -> None:
    """Row RT-129."""
    assert webapp.purge("2") == 2
    assert not webapp.exists("/db")
    assert not webapp.exists("/webapp/db/logs")
    assert webapp.get("/logs") == "4"


def test_a_purged_id_comes_back_without_its_old_links(webapp: Graph) -> None:
    webapp.purge("1")
    webapp.set("/webapp", "1")
    assert webapp.descendants("/webapp") == {}


def test_rename_changes_the_last_element(webapp: Graph) -> None:
    """Row RT-130."""
    webapp.rename("/webapp/db", "/webapp/newdb")
    assert not webapp.exists("/webapp/db")
    assert webapp.get("/webapp/newdb") == "2"


def test_rename_stays_below_one_parent_and_overwrites_nothing(webapp: Graph) -> None:
    with pytest.raises(ConflictError, match="root paths do not match /webapp != /db"):
        webapp.rename("/webapp/db", "/db/db")
    with pytest.raises(NotFoundError, match="Cannot locate edge for 1 nothing"):
        webapp.rename("/webapp/nothing", "/webapp/other")
    with pytest.raises(ConflictError):
        webapp.rename("/webapp/db", "/webapp/sentry")
    assert webapp.get("/webapp/sentry") == "3"


def test_ref_paths_are_edges(webapp: Graph) -> None:
    """Row RT-132."""
    assert [(edge.parent_id, edge.name) for edge in webapp.ref_paths("2")] == [
        ("0", "db"),
        ("1", "db"),
    ]


def test_what_was_set_exists_and_nothing_else(graph: Graph) -> None:
    """Rows RT-133 and RT-134."""
    graph.set("/testing", "1")
    assert graph.exists("/testing")
    assert not graph.exists("/toerhe")


def test_slashes_at_the_end_and_a_missing_first_one_do_not_matter(graph: Graph) -> None:
    """Row RT-135; defect D-13 is not kept."""
    graph.set("todo", "1")
    assert graph.get("/todo/") == graph.get("todo") == "1"


def test_purge_and_set_at_once_both_succeed(graph: Graph) -> None:
    """Row RT-136."""
    errors: list[Exception] = []

    def repeat(entity_id: str) -> None:
        try:
            for _ in range(200):
                graph.set(f"/{entity_id}", entity_id)
                graph.purge(entity_id)
        except (ConflictError, NotFoundError, LookupError, RuntimeError) as error:
            errors.append(error)

    threads = [threading.Thread(target=repeat, args=(f"e{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert graph.descendants("/") == {}


def test_a_path_may_be_given_its_own_name(webapp: Graph) -> None:
    webapp.rename("/db", "/db")
    assert webapp.get("/db/logs") == "4"


def test_links_of_a_purged_entity_lead_nowhere(webapp: Graph) -> None:
    webapp.purge("1")
    assert webapp.refs("3") == 1
    assert webapp.ref_paths("2")[0].name == "db"
    assert not webapp.exists("/webapp/db")


def test_two_that_are_linked_to_each_other_are_listed_in_finite_time(graph: Graph) -> None:
    graph.set("/a", "1")
    graph.set("/b", "2")
    graph.set("/a/b", "2")
    graph.set("/b/a", "1")
    assert set(graph.descendants("/a")) == {"/a/b", "/a/b/a"}


def test_the_deepest_paths_sort_first() -> None:
    """Row RT-137."""
    paths = ["/", "/myreallylongname", "/app/db"]
    assert sorted_by_depth(paths) == ["/app/db", "/myreallylongname", "/"]
    assert [depth_of(path) for path in ("/", "/a", "/a/b")] == [1, 2, 3]
