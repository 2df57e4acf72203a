# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from tests.fakes.stub_engine import Exchange, StubEngine, frame, says, streams
from toolkit.client import ApiError, Client, ConnectionLostError, EngineForbiddenError, StreamError
from toolkit.client.frames import Chunk
from toolkit.errors import EngineUnreachableError

if TYPE_CHECKING:
    from pathlib import Path


def test_the_version_is_the_lower_of_both(stub: StubEngine, client: Client) -> None:
    stub.api_version = "1.41"
    stub.on("GET /info", says(200, {}))
    client.system.info()
    assert stub.requests[0].target == "/v1.41/info"


def test_an_engine_that_is_newer_is_spoken_to_in_our_version(
    stub: StubEngine, client: Client
) -> None:
    stub.api_version = "1.99"
    assert client.api_version == "1.44"


def test_an_engine_that_tells_no_version_gets_the_oldest(stub: StubEngine, client: Client) -> None:
    stub.api_version = ""
    assert client.api_version == "1.24"


def test_a_refused_head_ping_is_tried_as_get(stub: StubEngine, client: Client) -> None:
    stub.on("HEAD /_ping", says(405))
    stub.on("GET /_ping", lambda exchange: exchange.answer(200, "OK", "Api-Version: 1.30\r\n"))
    assert client.api_version == "1.30"


def test_nothing_is_asked_before_the_first_request(stub: StubEngine, client: Client) -> None:
    assert client.host.startswith("unix://")
    assert stub.connections == 0


def test_requests_share_a_connection(stub: StubEngine, client: Client) -> None:
    stub.on("GET /info", says(200, {}))
    stub.on("POST /containers/x/stop", says(204))
    client.system.info()
    client.containers.stop("x")
    client.system.info()
    assert stub.connections == 1


def test_a_connection_that_the_engine_closed_meanwhile_is_not_used(
    stub: StubEngine, client: Client
) -> None:
    def close(exchange: Exchange) -> None:
        exchange.answer(200, {"n": 1})
        exchange.connection.close()

    stub.on("GET /info", close)
    stub.on("GET /version", says(200, {"n": 2}))
    client.system.info()
    assert client.system.version() == {"n": 2}


def test_an_error_carries_status_and_the_engines_words(stub: StubEngine, client: Client) -> None:
    stub.on("GET /containers/x/json", says(404, {"message": "No such container: x"}))
    with pytest.raises(ApiError, match="No such container: x") as caught:
        client.containers.inspect("x")
    assert caught.value.status == 404


def test_an_error_that_is_not_json_is_taken_as_text(stub: StubEngine, client: Client) -> None:
    body = b"HTTP/1.1 500 X\r\nContent-Length: 5\r\n\r\nbang\n"
    stub.on("GET /info", lambda exchange: exchange.send(body))
    with pytest.raises(ApiError, match=r"^bang$"):
        client.system.info()


def test_not_modified_is_a_success_that_says_so(stub: StubEngine, client: Client) -> None:
    """API-016: a second start is 304."""
    stub.on("POST /containers/x/start", says(304))
    assert client.containers.start("x") is False


def test_a_dead_socket_says_so_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(EngineUnreachableError, match="No such file") as caught:
        Client(f"unix://{tmp_path}/none.sock").system.info()
    assert "toolkit engine" in caught.value.hint


def test_a_socket_that_may_not_be_opened_names_the_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("toolkit.client.wire.socket.socket.connect", refuse)
    with pytest.raises(EngineForbiddenError, match="Permission denied") as caught:
        Client(f"unix://{tmp_path}/engine.sock").system.info()
    assert "group" in caught.value.hint


def test_an_engine_that_goes_away_in_an_answer_is_noticed(stub: StubEngine, client: Client) -> None:
    def cut(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
        exchange.connection.shutdown(2)

    stub.on("GET /info", cut)
    with pytest.raises(ConnectionLostError):
        client.system.info()


@pytest.mark.parametrize("answer", [b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n"])
def test_something_else_than_http_is_refused(
    stub: StubEngine, client: Client, answer: bytes
) -> None:
    stub.on("GET /info", lambda exchange: exchange.send(answer))
    with pytest.raises(StreamError, match="does not speak HTTP"):
        client.system.info()


def test_a_file_is_uploaded_in_chunks_to_its_end(stub: StubEngine, client: Client) -> None:
    stub.on("POST /images/create", streams([b'{"status":"sha256:abc"}\r\n']))
    data = bytes(range(256)) * 4000
    image_id = client.images.import_tar(io.BytesIO(data), reference="a:b", changes=['CMD ["sh"]'])
    request = stub.requests[0]
    assert image_id == "sha256:abc"
    assert request.body == data
    assert request.headers["transfer-encoding"] == "chunked"
    assert "repo=a:b&changes=CMD%20%5B%22sh%22%5D" in request.target


def test_an_upload_that_the_engine_cuts_short_still_gives_its_answer(tmp_path: Path) -> None:
    class Endless(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            return b"x" * size

    path = tmp_path / "other.sock"
    listening = threading.Event()
    thread = threading.Thread(target=refuse_upload, args=(path, listening))
    thread.start()
    listening.wait()
    with (
        Client(f"unix://{path}", api_version="1.44") as client,
        pytest.raises(ApiError, match="not a tar"),
    ):
        client.images.import_tar(Endless())  # type: ignore[arg-type]  # endless
    thread.join()


def refuse_upload(path: Path, listening: threading.Event) -> None:
    """Answer before the upload has ended, and close."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listening.set()
        connection, _ = listener.accept()
        with connection:
            connection.recv(1000)
            body = b'{"message":"not a tar"}'
            connection.sendall(b"HTTP/1.1 400 X\r\nContent-Length: 23\r\n\r\n" + body)
            connection.shutdown(socket.SHUT_RDWR)


def test_a_progress_stream_with_an_error_fails(stub: StubEngine, client: Client) -> None:
    error = b'{"errorDetail":{"message":"denied"},"error":"denied"}'
    stub.on("POST /images/create", streams([b'{"status":"Pulling"}\r\n', error]))
    with pytest.raises(StreamError, match="denied"):
        list(client.images.pull("x", "latest"))


def test_attach_switches_and_keeps_what_came_with_the_head(
    stub: StubEngine, client: Client
) -> None:
    def act(exchange: Exchange) -> None:
        exchange.upgrade(frame(1, b"early "))
        exchange.send(frame(2, b"late"))

    stub.on("POST /containers/x/attach", act)
    with client.containers.attach("x") as stream:
        assert list(stream.chunks(framed=True)) == [Chunk(1, b"early "), Chunk(2, b"late")]
    assert stub.requests[0].headers["upgrade"] == "tcp"
    assert stub.lines == ["POST /containers/x/attach?stream=1&stdout=1&stderr=1"]


def test_a_half_close_ends_input_while_output_goes_on(stub: StubEngine, client: Client) -> None:
    def echo(exchange: Exchange) -> None:
        exchange.upgrade()
        exchange.send(frame(1, exchange.read_to_end().upper()))

    stub.on("POST /containers/x/attach", echo)
    with client.containers.attach("x", stdin=True) as stream:
        stream.send(b"abc")
        stream.half_close()
        assert list(stream.chunks(framed=True)) == [Chunk(1, b"ABC")]


def test_attach_refused_is_an_ordinary_error(stub: StubEngine, client: Client) -> None:
    stub.on("POST /containers/x/attach", says(409, {"message": "container is paused"}))
    with pytest.raises(ApiError, match="paused"):
        client.containers.attach("x")


def test_an_engine_that_will_not_switch_is_refused(stub: StubEngine, client: Client) -> None:
    stub.on("POST /containers/x/attach", says(200, {}))
    with pytest.raises(ApiError, match="unable to upgrade to tcp, received 200"):
        client.containers.attach("x")


def test_wait_returns_before_the_exit_and_gives_it_later(stub: StubEngine, client: Client) -> None:
    exited = threading.Event()

    def act(exchange: Exchange) -> None:
        exchange.begin_chunks()
        exited.wait(10)
        exchange.chunk(b'{"StatusCode":7}')
        exchange.end_chunks()

    stub.on("POST /containers/x/wait", act)
    pending = client.containers.wait("x", condition="next-exit")
    exited.set()
    assert pending.result() == (7, "")
    assert stub.lines == ["POST /containers/x/wait?condition=next-exit"]


def test_logs_without_a_terminal_come_apart(stub: StubEngine, client: Client) -> None:
    out, err = frame(1, b"out"), frame(2, b"err")
    stub.on("GET /containers/x/logs", streams([out[:5], out[5:], err]))
    chunks = list(client.containers.logs("x", framed=True, tail="5"))
    assert chunks == [Chunk(1, b"out"), Chunk(2, b"err")]
    assert stub.lines == ["GET /containers/x/logs?stdout=1&stderr=1&tail=5"]


def test_names_are_quoted_in_the_path(stub: StubEngine, client: Client) -> None:
    stub.on("GET /images/a/b:c%3Fall%3D1/json", says(200, {"Id": "x"}))
    assert client.images.inspect("a/b:c?all=1") == {"Id": "x"}


def test_threads_share_a_client(stub: StubEngine, client: Client) -> None:
    stub.on("GET /info", says(200, {"ok": True}))
    results: list[bool] = []
    threads = [
        threading.Thread(
            target=lambda: results.extend(client.system.info()["ok"] for _ in range(20))
        )
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 160


def test_importing_the_client_loads_no_http_package() -> None:
    code = "import sys, toolkit.client; print(*sorted(sys.modules))"
    listed = subprocess.check_output([sys.executable, "-c", code], text=True)
    loaded = set(listed.split())
    assert not loaded & {"http.client", "urllib.parse", "email", "dataclasses", "subprocess", "ssl"}
