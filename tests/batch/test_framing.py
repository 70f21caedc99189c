"""Answers between marks: chatter is none, a cut one is none, however the bytes arrive."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intercede.batch.remote.framing import Answer, FrameReader, make_mark
from intercede.contract.errors import TransportError
from intercede.contract.transport import CommandResult

MARK = "f" * 32


def framed(name: str, data: bytes, code: int = 0) -> bytes:
    """Write a frame as the prelude does."""
    return f"\n{MARK} begin {name}\n".encode() + data + f"\n{MARK} end {name} {code}\n".encode()


def pieces(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    """Cut the stream at these places."""
    at = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(at)]


async def read(stream: bytes, cuts: Sequence[int] = ()) -> Answer:
    """Have an answer take the stream in pieces."""
    answer = Answer(MARK)
    for piece in pieces(stream, cuts):
        await answer.write(piece)
    answer.finish(CommandResult(returncode=0, stderr=b"banner" + framed("one", b"said")))
    return answer


@pytest.mark.asyncio
@given(
    st.binary(max_size=300), st.binary(max_size=300), st.binary(max_size=80), st.lists(st.integers(0, 1000), max_size=9)
)
async def test_frames_are_exact_and_chatter_is_left_out(
    one: bytes, two: bytes, chatter: bytes, cuts: list[int]
) -> None:
    """Whatever stands in and between them, cut anywhere."""
    stream = chatter + framed("one", one, 3) + chatter + framed("two.x", two) + chatter
    answer = await read(stream, cuts)
    assert answer.get_frame("one") == CommandResult(returncode=3, stdout=one, stderr=b"said")
    assert answer.get_frame("two.x").stdout == two


@pytest.mark.asyncio
@given(st.binary(max_size=100), st.integers(0, 10**6))
async def test_a_cut_answer_is_none(data: bytes, cut: int) -> None:
    """Without its end a frame is not there, and the error says what came instead."""
    stream = framed("one", data)
    answer = await read(stream[: cut % len(stream)])
    assert "one" not in answer
    with pytest.raises(TransportError, match="banner"):
        answer.get_frame("one")


def test_marks_are_new_each_time() -> None:
    """Nobody can have seen one before."""
    assert len({make_mark() for _ in range(100)}) == 100


def test_a_long_frame_is_handed_on_in_bounded_memory() -> None:
    """What is held back is no longer than a mark may be."""
    frames = FrameReader(MARK)
    list(frames.feed(f"\n{MARK} begin one\n".encode()))
    for _ in range(100):
        handed = sum(len(piece.data) for piece in frames.feed(b"x" * 10000))
        assert handed >= 10000 - 200
