"""CPU of the adapter for each streamed chunk: `python -m tests.bench.bench_llm_stream`.

The model's server is a process of its own, so that only the client's CPU is counted. `burst`: the whole
answer is there at once. `paced`: a chunk every 3 ms, so that each wakes the event loop; `idle` is an event
loop that wakes as often and does nothing.
"""

from __future__ import annotations

import subprocess
import sys
import time

import anyio

from cozy.adapters.model_servers import OpenAIServer
from cozy.adapters.openai_clients import openai_clients
from cozy.adapters.openai_llm import OpenAILLM
from cozy.ports.llm import LLMRequest
from cozy.turn import Message
from tests.upstream import chunk, sse, usage_chunk

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def serve() -> None:
    """Answers `/v1/<chunks>/<milliseconds between them>/chat/completions`."""
    word = framed(sse(chunk(" 词")))
    end = framed(sse(chunk(finish="stop"), usage_chunk(), "[DONE]")) + b"0\r\n\r\n"

    async def answer(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            held = b""
            while True:
                try:
                    while b"\r\n\r\n" not in held:
                        held += await stream.receive()
                    head, _, held = held.partition(b"\r\n\r\n")
                    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
                    while len(held) < length:
                        held += await stream.receive()
                except (anyio.EndOfStream, anyio.BrokenResourceError):
                    return
                held = held[length:]
                _, _, count, gap, *_ = head.split(b" ")[1].split(b"/")
                await stream.send(HEAD)
                if gap == b"0":
                    await stream.send(word * int(count))
                else:
                    for _ in range(int(count)):
                        await stream.send(word)
                        await anyio.sleep(float(gap) / 1000)
                await stream.send(end)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    print(listener.extra(anyio.abc.SocketAttribute.local_port), flush=True)
    await listener.serve(answer)


async def idle(chunks: int, gap_ms: int) -> float:
    began = time.process_time()
    for _ in range(chunks):
        await anyio.sleep(gap_ms / 1000)
    return time.process_time() - began


async def measure(port: int, chunks: int, gap_ms: int, repeats: int) -> float:
    """CPU seconds of the cheapest of several answers."""
    history = [Message("user" if i % 2 else "assistant", "你好，今天天气怎么样？" * 5) for i in range(20)]
    request = LLMRequest("bench/fake", (Message("system", "简短。"), *history, Message("user", "说吧")))
    best = float("inf")
    async with openai_clients() as clients:
        llm = OpenAILLM(OpenAIServer("bench", f"http://127.0.0.1:{port}/v1/{chunks}/{gap_ms}"), clients)
        for _ in range(repeats):
            began, count = time.process_time(), 0
            async with llm.stream(request) as answer:
                async for _ in answer:
                    count += 1
            assert count == chunks + 1
            best = min(best, time.process_time() - began)
    return best


def main() -> None:
    command = [sys.executable, "-m", "tests.bench.bench_llm_stream", "serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        fixed = anyio.run(measure, port, 1, 0, 300)
        print(f"one request, one chunk: {fixed * 1e6:6.0f} us of CPU")
        for name, chunks, gap in (("burst", 4000, 0), ("paced", 400, 3)):
            spent = (anyio.run(measure, port, chunks, gap, 5) - fixed) / chunks
            print(f"{name}: {spent * 1e6:6.1f} us of CPU a chunk")
        print(f"idle:  {anyio.run(idle, 400, 3) / 400 * 1e6:6.1f} us of CPU a wake-up")
        server.terminate()


if __name__ == "__main__":
    anyio.run(serve) if "serve" in sys.argv else main()
