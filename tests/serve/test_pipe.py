"""Questions and answers between two processes."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from scene.errors import ServerError, UnknownModelError
from serve.pipe import PeerGoneError, PipeEnd

Answers = Callable[[object], Awaitable[object]]


async def nothing(_: object) -> None:
    return None


@asynccontextmanager
async def pipe(ours: Answers, theirs: Answers) -> AsyncIterator[tuple[PipeEnd, PipeEnd]]:
    sockets = socket.socketpair()
    ends = (await PipeEnd.open(sockets[0], ours), await PipeEnd.open(sockets[1], theirs))
    yield ends
    for end in ends:
        end.close()


async def test_an_end_that_closes_is_noticed() -> None:
    async with pipe(nothing, nothing) as (here, there):
        there.close()
        await here.gone.wait()
        with pytest.raises(PeerGoneError):
            await here.ask("anybody?", str)


async def test_both_ends_ask_at_a_time_and_get_their_own_answers() -> None:
    turn = asyncio.Event()

    async def late(message: object) -> object:
        if message == 0:
            await turn.wait()  # answered after what was asked later
        turn.set()
        return message

    async with pipe(late, late) as (here, there):
        asked = [here.ask(0, int), there.ask(1, int), here.ask(2, int)]
        assert await asyncio.gather(*asked) == [0, 1, 2]


async def test_an_error_crosses_whole() -> None:
    async def refuse(message: object) -> object:
        raise UnknownModelError("model_name", f"no {message}")

    async with pipe(nothing, refuse) as (here, _):
        with pytest.raises(UnknownModelError, match="model_name: no model") as raised:
            await here.ask("model", str)
    assert raised.value.field == "model_name"


async def test_a_fault_is_told_without_what_it_was() -> None:
    async def break_down(_: object) -> object:
        raise KeyError("secret")

    async with pipe(nothing, break_down) as (here, _):
        with pytest.raises(ServerError, match="its log says why"):
            await here.ask("model", str)


async def test_an_answer_of_another_type_is_an_error() -> None:
    async with pipe(nothing, nothing) as (here, _):
        with pytest.raises(ServerError, match="expected str"):
            await here.ask("model", str)


async def test_whoever_waits_for_an_end_that_closes_is_told() -> None:
    async def hang(_: object) -> None:
        there.close()
        await asyncio.Event().wait()

    async with pipe(nothing, hang) as (here, there):
        with pytest.raises(PeerGoneError):
            await here.ask("anybody?", str)
