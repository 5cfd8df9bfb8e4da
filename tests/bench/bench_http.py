"""What a turn over HTTP costs the server: CPU a turn and a chunk, turns a second, beside a bare pass-through.

    python tests/bench/bench_http.py [turns] [connections]

Three processes on loopback: an instant model server, the server, and the client. The pass-through is
Starlette on Hypercorn with plain httpx2, which does nothing but hand bytes on; ratios within one run count.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHUNKS = 20
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def upstream(listener: socket.socket) -> None:
    """A model server that answers at once, in 20 chunks."""
    said = [{"choices": [{"index": 0, "delta": {"content": "word "}, "finish_reason": None}]}] * CHUNKS
    said.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    said.append(
        {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": CHUNKS, "total_tokens": 29}}
    )
    events = [b"data: " + json.dumps({"id": "c", "model": "m", **o}).encode() + b"\n\n" for o in said]
    body = b"".join(b"%x\r\n%b\r\n" % (len(e), e) for e in [*events, b"data: [DONE]\n\n"]) + b"0\r\n\r\n"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                return writer.close()
            length = next(
                int(line.split(b":")[1])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length")
            )
            await reader.readexactly(length)
            writer.write(HEAD + body)
            await writer.drain()

    async def main() -> None:
        await (await asyncio.start_server(serve, sock=listener)).serve_forever()

    asyncio.run(main())


def served_by(listener: socket.socket, opened: Callable[[], Any]) -> None:
    """The application of `opened` on Hypercorn."""
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    async def main() -> None:
        config = Config()
        config.bind = [f"fd://{listener.fileno()}"]
        config.accesslog = config.errorlog = None
        async with opened() as app:
            await serve(app, config, shutdown_trigger=asyncio.Event().wait)

    asyncio.run(main())


def bare(listener: socket.socket, model_url: str) -> None:
    """A pass-through that does nothing else."""
    from contextlib import asynccontextmanager

    import httpx2
    from starlette.applications import Starlette
    from starlette.responses import Response, StreamingResponse
    from starlette.routing import Route

    @asynccontextmanager
    async def opened():
        async with httpx2.AsyncClient(timeout=None) as client:

            async def chat(request):
                body = await request.body()
                if b'"stream":true' in body or b'"stream": true' in body:
                    sent = client.build_request("POST", f"{model_url}/chat/completions", content=body)
                    answer = await client.send(sent, stream=True)
                    return StreamingResponse(answer.aiter_raw(), media_type="text/event-stream")
                answer = await client.post(f"{model_url}/chat/completions", content=body)
                return Response(answer.content, media_type="application/json")

            yield Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"])])

    served_by(listener, opened)


def cozy_server(listener: socket.socket, model_url: str, folder: str, words: Any) -> None:
    """Cozy itself, `standard` pipeline, embedded engines, SQLite."""
    import logging
    from contextlib import asynccontextmanager

    from cozy.configuration import load_settings
    from cozy.interfaces.http.app import open_http
    from cozy.service import extensions, open_service

    logging.disable(logging.CRITICAL)
    root = Path(folder)
    (root / "personalities").mkdir()
    (root / "personalities" / "mia.yaml").write_text("id: mia\nname: Mia\nprompt: You are Mia.\n")
    limits = "per_address = 0\nper_user = 0\nper_key = 0\n"
    (root / "cozy.toml").write_text(
        f'[providers.house]\nbase_url = "{model_url}"\ndefault_model = "m"\n[limits]\n{limits}'
    )

    @asynccontextmanager
    async def opened():
        async with open_service(load_settings(root, {})) as service, open_http(service, extensions()) as app:
            identity: Any = service.identity
            ada = await identity.create_user("ada")
            _, key = await identity.create_key(ada.id, "bench")
            sessions = [await service.sessions.create(ada.id, "mia") for _ in range(64)]
            words.send((key, [str(s.id) for s in sessions]))
            yield app

    served_by(listener, opened)


async def ask(port: int, bodies: list[bytes], key: str, count: int) -> tuple[float, list[float]]:
    """`count` requests over as many connections as there are bodies; seconds in all, and each one's."""
    took: list[float] = []
    left = iter(range(count))

    async def connection(body: bytes) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        ).encode()
        for _ in left:
            began = time.perf_counter()
            writer.write(head + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            assert b" 200 " in answer.split(b"\r\n")[0], answer + await reader.read(2000)
            if b"chunked" in answer.lower():
                await reader.readuntil(b"\r\n0\r\n\r\n")
            else:
                fields = dict(
                    line.lower().split(b": ", 1) for line in answer.split(b"\r\n")[1:] if b": " in line
                )
                await reader.readexactly(int(fields[b"content-length"]))
            took.append(time.perf_counter() - began)
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*map(connection, bodies))
    return time.perf_counter() - began, took


def cpu_s(pid: int) -> float:
    """CPU time of a process and its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(name: str, pid: int, port: int, bodies: list[bytes], key: str, count: int) -> float:
    asyncio.run(ask(port, bodies, key, max(count // 10, 20)))  # warm
    before = cpu_s(pid)
    seconds, took = asyncio.run(ask(port, bodies, key, count))
    cpu = (cpu_s(pid) - before) / count
    took.sort()
    p50, p99 = took[len(took) // 2] * 1e3, took[int(len(took) * 0.99)] * 1e3
    print(
        f"{name:34} {count / seconds:7.0f}/s  CPU {cpu * 1e6:6.0f} us  p50 {p50:6.2f} ms  p99 {p99:6.2f} ms"
    )
    return cpu


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    connections = int(sys.argv[2]) if len(sys.argv) > 2 else 16
    multiprocessing.set_start_method("fork")
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    ports = [listener.getsockname()[1] for listener in listeners]
    model_url = f"http://127.0.0.1:{ports[0]}/v1"
    words, told = multiprocessing.Pipe()
    with tempfile.TemporaryDirectory() as folder:
        processes = [
            multiprocessing.Process(target=upstream, args=(listeners[0],)),
            multiprocessing.Process(target=bare, args=(listeners[1], model_url)),
            multiprocessing.Process(target=cozy_server, args=(listeners[2], model_url, folder, told)),
        ]
        for process in processes:
            process.start()
        try:
            key, sessions = words.recv()
            say = [{"role": "user", "content": "how are you today?"}]
            for stream in (False, True):
                base: dict[str, Any] = {"model": "mia", "messages": say, "stream": stream}
                plain = [json.dumps(base).encode()] * connections
                inside = [
                    json.dumps({**base, "cozy": {"session_id": sessions[i]}}).encode()
                    for i in range(connections)
                ]
                kind = "stream" if stream else "plain"
                measure(f"{kind}, bare pass-through", processes[1].pid or 0, ports[1], plain, key, count)
                measure(f"{kind}, cozy without a session", processes[2].pid or 0, ports[2], plain, key, count)
                measure(f"{kind}, cozy in a session", processes[2].pid or 0, ports[2], inside, key, count)
        finally:
            for process in processes:
                process.terminate()


if __name__ == "__main__":
    main()
