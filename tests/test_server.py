"""The parts of a server that have no module of their own."""

import asyncio
import socket

from molva.server import bind


def test_answers_do_not_wait_for_acknowledgements() -> None:
    """Nagle's algorithm is off on the connections that asyncio makes of this socket."""

    async def test() -> None:
        served = asyncio.Queue[int]()

        def on_client(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            served.put_nowait(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        listener = bind("127.0.0.1", 0)
        async with await asyncio.start_server(on_client, sock=listener):
            _, writer = await asyncio.open_connection(*listener.getsockname())
            assert await served.get() != 0
            writer.close()

    asyncio.run(test())
