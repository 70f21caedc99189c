"""Answers are read between marks, in pieces of any size."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intercede.batch.remote.framing import Answer, FrameReader, make_mark
from intercede.contract.errors import TransportError
from intercede.contract.transport import CommandResult

MARK = "f" * 32


def write_frame(name: str, data: bytes, code: int = 0) -> bytes:
    """Return a frame as the prelude writes it."""
    return f"\n{MARK} begin {name}\n".encode() + data + f"\n{MARK} end {name} {code}\n".encode()


def cut(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    """Return a stream in pieces."""
    at = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(at)]


async def read_answer(stream: bytes, cuts: Sequence[int] = ()) -> Answer:
    """Read an answer from pieces of a stream."""
    answer = Answer(MARK)
    for piece in cut(stream, cuts):
        await answer.write(piece)
    answer.finish(CommandResult(returncode=0, stderr=b"banner" + write_frame("one", b"said")))
    return answer


@pytest.mark.asyncio
@given(
    st.binary(max_size=300), st.binary(max_size=300), st.binary(max_size=80), st.lists(st.integers(0, 1000), max_size=9)
)
async def test_frames_are_exact_without_other_text(one: bytes, two: bytes, chatter: bytes, cuts: list[int]) -> None:
    """Frames hold exactly their bytes, and text between them is left out, wherever the stream is cut."""
    stream = chatter + write_frame("one", one, 3) + chatter + write_frame("two.x", two) + chatter
    answer = await read_answer(stream, cuts)
    assert answer.get_frame("one") == CommandResult(returncode=3, stdout=one, stderr=b"said")
    assert answer.get_frame("two.x").stdout == two


@pytest.mark.asyncio
@given(st.binary(max_size=100), st.integers(0, 10**6))
async def test_a_cut_answer_is_an_error(data: bytes, cut: int) -> None:
    """An answer without the end of a frame is an error that shows what arrived."""
    stream = write_frame("one", data)
    answer = await read_answer(stream[: cut % len(stream)])
    assert "one" not in answer
    with pytest.raises(TransportError, match="banner"):
        answer.get_frame("one")


def test_each_answer_has_a_new_mark() -> None:
    """Each answer has a random mark of its own."""
    assert len({make_mark() for _ in range(100)}) == 100


def test_a_long_frame_takes_little_memory() -> None:
    """A long frame is passed on in pieces, and at most the length of a mark is held back."""
    frames = FrameReader(MARK)
    list(frames.feed(f"\n{MARK} begin one\n".encode()))
    for _ in range(100):
        handed = sum(len(piece.data) for piece in frames.feed(b"x" * 10000))
        assert handed >= 10000 - 200
