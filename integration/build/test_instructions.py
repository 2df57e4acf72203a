# SPDX-License-Identifier: Apache-2.0
"""What 0.7.2's own builder tests ask (API-054 to API-068), and the instructions that came later."""

from __future__ import annotations

import io
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from toolkit.build.stage import DEFAULT_PATH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.build.conftest import Builder


class Handler(BaseHTTPRequestHandler):
    """Serves what API-054 asks for."""

    def do_GET(self) -> None:
        content = {"/baz": b"world!"}.get(self.path, b"blah")
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"127.0.0.1:{serving.server_port}"
        serving.shutdown()
        thread.join()


def test_runs_follow_each_other_and_lines_go_on(builder: Builder) -> None:
    r"""API-054a, API-054b, API-054c."""
    builder.good(
        "from busybox\n"
        "run sh -c 'echo root:testpass > /tmp/passwd'\n"
        "run mkdir -p /var/run/sshd\n"
        'run [ "$(cat /tmp/passwd)" = "root:testpass" ]\n'
        'run [ "$(ls -d /var/run/sshd)" = "/var/run/sshd" ]\n'
        "run sh -c 'echo root:testpass \\\n\t> /tmp/passwd2'\n"
        'run [ "$(cat /tmp/passwd2)" = "root:testpass" ]\n'
        "run printf 'foo\\nbar' > /tmp/two; [ \"$(wc -l < /tmp/two)\" = 1 ]\n"
    )


def test_files_and_urls_are_added(builder: Builder, server: str) -> None:
    """API-054d, API-054f."""
    builder.good(
        "from busybox\n"
        "add foo /usr/lib/bla/bar\n"
        'run [ "$(cat /usr/lib/bla/bar)" = hello ]\n'
        f"add http://{server}/baz /usr/lib/baz/quux\n"
        'run [ "$(cat /usr/lib/baz/quux)" = "world!" ]\n'
        f"add http://{server}/x /a/b/c\n"
        f"add http://{server}/x?foo=bar /\n"
        f"add http://{server}/x /d/\n"
        f"add http://{server} /e\n"
        'run [ "$(cat /a/b/c /x /d/x /e)" = blahblahblahblah ]\n'
        'run [ "$(stat -c %a:%u /x)" = 600:0 ]\n',
        {"foo": b"hello"},
    )


def test_a_url_without_a_name_needs_one(builder: Builder, server: str) -> None:
    built = builder.build(f"from busybox\nadd http://{server}/ /d/")
    assert "cannot determine filename" in built.error


def test_destinations_are_files_or_directories(builder: Builder) -> None:
    """API-054e."""
    builder.good(
        "from busybox\n"
        'add f /\nrun [ "$(cat /f)" = hello ]\n'
        'add f /abc\nrun [ "$(cat /abc)" = hello ]\n'
        'add f /x/y/z\nrun [ "$(cat /x/y/z)" = hello ]\n'
        'add f /x/y/d/\nrun [ "$(cat /x/y/d/f)" = hello ]\n'
        'add d /\nrun [ "$(cat /ga)" = bu ]\n'
        'add d /somewhere\nrun [ "$(cat /somewhere/ga)" = bu ]\n'
        'add d /anotherplace/\nrun [ "$(cat /anotherplace/ga)" = bu ]\n'
        "add d /somewheeeere/over/the/rainbooow\n"
        'run [ "$(cat /somewheeeere/over/the/rainbooow/ga)" = bu ]\n',
        {"f": b"hello", "d/ga": b"bu"},
    )  # fmt: skip


def test_variables_reach_runs_and_paths(builder: Builder) -> None:
    """API-054g, API-054j, API-054k."""
    image = builder.good(
        "from busybox\n"
        "env FOO BAR\n"
        'run [ "$FOO" = BAR ]\n'
        "env FOO /foo/baz\nenv BAR /bar\nenv BAZ $BAR\nenv FOOPATH $PATH:$FOO\n"
        'run [ "$BAZ" = /bar ] && [ "$FOOPATH" = "$PATH:/foo/baz" ]\n'
        "env FROM hello/docker/world\nenv TO /docker/world/hello\n"
        "env FOO /bar\nenv TEST testdir\nenv BAZ /foobar\n"
        "add testfile $BAZ/\nadd $TEST $FOO\n"
        'run [ "$(cat /foobar/testfile)" = test1 ] && [ "$(cat /bar/withfile)" = test2 ]\n',
        {"testfile": b"test1", "testdir/withfile": b"test2"},
    )
    assert f"FOOPATH={DEFAULT_PATH}:/foo/baz" in builder.config(image)["Env"]


def test_programs_of_images(builder: Builder) -> None:
    """API-054h, API-054i, API-059, API-061."""
    config = builder.config(builder.good("from busybox\nENTRYPOINT /bin/echo\nCMD Hello world\n"))
    assert config["Entrypoint"] == ["/bin/sh", "-c", "/bin/echo"]
    assert config["Cmd"] == ["/bin/sh", "-c", "Hello world"]
    image = builder.good('from busybox\ncmd ["/bin/echo", "Hello World"]\n')
    assert builder.config(image)["Cmd"] == ["/bin/echo", "Hello World"]
    assert builder.run(image) == "Hello World"
    image = builder.good('from busybox\nentrypoint ["/bin/echo"]\n')
    assert builder.config(image)["Entrypoint"][0] == "/bin/echo"
    assert builder.run(image, "a", "b") == "a b"


def test_what_an_image_says_of_itself(builder: Builder) -> None:
    """API-055, API-056, API-057, API-058, API-060."""
    image = builder.good(
        "from busybox\nmaintainer dockerio\nuser dockerio\nenv port 4243\nexpose 4243\n"
        "volume /test\ncmd Hello world\n"
        "healthcheck --interval=5s --retries=2 CMD true\nstopsignal SIGINT\nlabel a=b\n"
    )
    document, config = builder.engine.client.images.inspect(image), builder.config(image)
    assert document["Author"] == "dockerio"
    assert config["User"] == "dockerio"
    assert "port=4243" in config["Env"]
    assert config["ExposedPorts"] == {"4243/tcp": {}}
    assert config["Volumes"] == {"/test": {}}
    assert config["Healthcheck"] == {
        "Test": ["CMD-SHELL", "true"], "Interval": 5 * 10**9, "Retries": 2,
    }  # fmt: skip
    assert (config["StopSignal"], config["Labels"]["a"]) == ("SIGINT", "b")


def test_a_run_from_the_cache_leaves_no_command_behind(builder: Builder) -> None:
    """API-062."""
    builder.good('from busybox\ncmd []\nrun echo "hello"\n')
    built = builder.build(
        'from busybox\ncmd []\nrun echo "hello"\nadd foo /foo\nentrypoint ["/bin/echo"]\n',
        {"foo": b"hello"},
    )
    assert "Using cache" in built.text
    assert not builder.config(built.id).get("Cmd")


def test_the_cache_gives_the_same_image_and_none_another(builder: Builder) -> None:
    """API-063, API-064."""
    text = "from busybox\nmaintainer dockerio\n"
    first = builder.good(text)
    assert builder.good(text) == first
    assert builder.good(text, nocache=True) != first


def test_a_forbidden_path_is_named_and_nothing_copied(builder: Builder) -> None:
    """API-065."""
    built = builder.build("from busybox\nadd ../../ test/\n", {"test.txt": b"test1"})
    assert built.error.startswith("Forbidden path outside the build context: ../../ ")
    assert builder.engine.client.images.list(every=True, filters={"dangling": ["true"]}) == []


def test_a_missing_file_is_named(builder: Builder) -> None:
    """API-066."""
    built = builder.build("from busybox\nadd foo /usr/local/bar\n")
    assert "foo: no such file or directory" in built.error


def test_images_inherit(builder: Builder) -> None:
    """API-067."""
    first = builder.good("from busybox\nexpose 4243\n", t="bld/a")
    heir = builder.config(builder.good('from bld/a\nentrypoint ["/bin/echo"]\n'))
    assert heir["Entrypoint"] == ["/bin/echo"]
    assert heir["ExposedPorts"] == builder.config(first)["ExposedPorts"] == {"4243/tcp": {}}


def test_a_failing_run_has_its_code(builder: Builder) -> None:
    """API-068."""
    built = builder.build('from busybox\nrun sh -c "exit 23"\n')
    assert built.code == 23
    assert built.error == (
        "The command '/bin/sh -c sh -c \"exit 23\"' returned a non-zero code: 23"
    )


def test_stages_hand_files_on(builder: Builder) -> None:
    image = builder.good(
        "ARG BASE=busybox\n"
        "FROM $BASE AS build\nRUN mkdir -p /out/d && echo made > /out/d/f && ln -s d/f /out/link\n"
        "FROM scratch AS data\nCOPY --from=build /out/ /data/\n"
        "FROM busybox\nCOPY --from=data /data /got\nCOPY --from=0 /out/link /followed\n"
        "COPY --from=busybox /bin/busybox /copied/\n"
        'RUN [ "$(cat /got/d/f)" = made ] && [ -L /got/link ] && [ ! -L /followed ]\n'
        "RUN /copied/busybox true\n"
    )
    assert builder.run(image, "cat", "/got/link") == "made"


def test_owners_and_modes_are_given(builder: Builder) -> None:
    image = builder.good(
        "FROM busybox\n"
        "RUN echo someone:x:77:77::/: >> /etc/passwd && echo some:x:88: >> /etc/group\n"
        "COPY --chown=someone:some d /new/d\n"
        "COPY --chown=5 f /f\n"
        "COPY --chmod=4750 f /g\n"
        "COPY f /h\n",
        {"f": b"x", "d/e/f": b"y"},
    )
    out = builder.run(image, "stat", "-c", "%n %a %u:%g", "/new", "/new/d/e/f", "/f", "/g", "/h")
    assert out.splitlines() == [
        "/new 755 77:88", "/new/d/e/f 644 77:88", "/f 644 5:5", "/g 4750 0:0", "/h 644 0:0",
    ]  # fmt: skip
    assert (
        "no matching entries"
        in builder.build("FROM busybox\nCOPY --chown=nobodyhere f /", {"f": b""}).error
    )


def test_archives_are_unpacked_by_add_and_not_by_copy(builder: Builder) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        member = tarfile.TarInfo("in/file")
        member.size, member.uid, member.mode = 2, 42, 0o640
        tar.addfile(member, io.BytesIO(b"hi"))
    builder.good(
        "FROM busybox\nADD a.tgz /to/\nCOPY a.tgz /kept/\nADD plain /to/\n"
        'RUN [ "$(cat /to/in/file)" = hi ] && [ "$(stat -c %a:%u /to/in/file)" = 640:42 ]\n'
        "RUN [ -f /kept/a.tgz ] && [ -f /to/plain ]\n",
        {"a.tgz": archive.getvalue(), "plain": b"no archive"},
    )


def test_patterns_several_sources_and_relative_places(builder: Builder) -> None:
    built = builder.build(
        "FROM busybox\nWORKDIR /w\nWORKDIR sub\nCOPY *.c d/?.h e/\nCOPY a.c .\n"
        'RUN [ "$(pwd)" = /w/sub ] && [ "$(echo e/*)" = "e/a.c e/b.c e/x.h" ] && [ -f a.c ]\n'
        "COPY a.c b.c /one\n",
        {"a.c": b"", "b.c": b"", "d/x.h": b"", "d/xy.h": b""},
    )
    assert "the destination must be a directory and end with a /" in built.error


def test_heredocs(builder: Builder) -> None:
    builder.good(
        "FROM busybox\nENV W=world\n"
        "COPY <<a <<'b' /d/\nhello \"$W\"\na\nhello $W\nb\n"
        'RUN <<EOF\nset -e\n[ "$(cat /d/a)" = \'hello "world"\' ]\n'
        "[ \"$(cat /d/b)\" = 'hello $W' ]\nEOF\n"
        'RUN cat <<X > /x\n$W\nX\nRUN [ "$(cat /x)" = world ]\n'
    )


def test_build_args_reach_runs_and_are_not_kept(builder: Builder) -> None:
    image = builder.good(
        'FROM busybox\nARG A=1\nARG B\nRUN [ "$A$B$HTTP_PROXY" = 23p ]\n',
        buildargs={"A": "2", "B": "3", "HTTP_PROXY": "p"},
    )
    env = builder.config(image)["Env"]
    assert not [one for one in env if one.partition("=")[0] in {"A", "B", "HTTP_PROXY"}]
    steps = builder.engine.client.images.history(image)
    assert steps[0]["CreatedBy"].startswith("|2 A=2 B=3 /bin/sh -c")


def test_triggers_run_in_the_heir(builder: Builder) -> None:
    builder.good("FROM busybox\nONBUILD COPY f /f\nONBUILD RUN cat /f > /g\n", t="bld/trigger")
    image = builder.good('FROM bld/trigger\nRUN [ "$(cat /g)" = x ]\n', {"f": b"x"})  # fmt: skip
    assert not builder.config(image).get("OnBuild")


def test_a_step_has_a_clean_environment_and_three_descriptors(builder: Builder) -> None:
    """S-67 and S-02: nothing of the engine's is in a step."""
    built = builder.build(
        "FROM busybox\nRUN env | sed s/=.*// | sort | tr '\\n' ' '; ls -l /proc/self/fd | wc -l\n",
        nocache=True,
    )
    assert "HOME HOSTNAME PATH PWD SHLVL" in built.text.replace("OLDPWD ", "")
    lines = [line for line in built.text.splitlines() if line.startswith(("HOME", "HOSTNAME"))]
    assert set(lines[0].split()) - {"container"} == {
        "HOME",
        "HOSTNAME",
        "PATH",
        "PWD",
        "SHLVL",
        "5",
    }


def test_limits_hold_in_steps(builder: Builder) -> None:
    builder.good('FROM busybox\nRUN [ "$(ulimit -n)" = 99 ]\n',
                 ulimits='[{"Name": "nofile", "Soft": 99, "Hard": 99}]')  # fmt: skip


def test_labels_several_names_and_a_target(builder: Builder) -> None:
    text = "FROM busybox AS a\nENV A=1\nFROM busybox\nENV B=1\n"
    image = builder.good(text, target="a", labels={"k": "v"}, t=["bld/x:1", "bld/y"])
    found = builder.engine.client.images.inspect(image)
    assert sorted(found["RepoTags"]) == ["bld/x:1", "bld/y:latest"]
    assert found["Config"]["Labels"]["k"] == "v"
    assert "A=1" in found["Config"]["Env"]


def test_contents_decide_what_is_cached(builder: Builder) -> None:
    text = "FROM busybox\nCOPY f /\nRUN true\n"
    first = builder.good(text, {"f": b"1"})
    assert builder.good(text, {"f": b"1"}) == first
    changed = builder.build(text, {"f": b"2"})
    assert "Using cache" not in changed.text
    assert builder.good(text, {"f": b"1"}) == first


def test_the_cache_outlives_the_engine_and_a_prune_ends_it(builder: Builder) -> None:
    text = "FROM busybox\nRUN true\nENV A=1\n"
    first = builder.good(text)
    pruned = builder.engine.client.images.prune_builds()
    assert first in pruned["CachesDeleted"]
    assert "Using cache" not in builder.build(text).text


def test_quiet_says_the_id_alone_and_the_log_of_a_failure(builder: Builder) -> None:
    built = builder.build("FROM busybox\nENV A=1\n", q=True)
    assert built.text == f"{built.id}\n"
    failed = builder.build("FROM busybox\nRUN echo why; exit 3\n", q=True)
    assert "why\n" in failed.text
    assert failed.code == 3
