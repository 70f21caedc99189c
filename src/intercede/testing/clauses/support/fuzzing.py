"""Arbitrary inputs for probes, made by hypothesis. Only child processes import this module: hypothesis loads slowly."""

import re
import time
from collections.abc import Callable, Sequence

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky

from intercede.testing.run.context import CheckFailed

__all__ = ["try_answers", "try_combinations"]

_COMBINATIONS = settings(
    max_examples=25,
    derandomize=True,
    database=None,
    deadline=None,
    report_multiple_bugs=False,
    phases=[Phase.generate],  # failing texts are not shrunk: each try starts a process, and texts are short
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
_ANSWERS = settings(
    max_examples=150,
    derandomize=True,
    database=None,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.filter_too_much,
        HealthCheck.data_too_large,
        HealthCheck.large_base_example,
    ],
)


def try_combinations(attempt: Callable[[str], None], pieces: Sequence[str], seconds: float) -> None:
    """Try combinations of given texts and arbitrary characters, for at most a number of seconds."""
    end = time.monotonic() + seconds
    text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=3)
    combined = st.lists(st.sampled_from(pieces) | text, min_size=2, max_size=6).map("".join).filter(bool)

    @_COMBINATIONS
    @given(combined)
    def try_combined(text: str) -> None:
        if time.monotonic() < end:
            attempt(text)

    try_combined()


def try_answers(attempt: Callable[[bytes, int, int], None], texts: list[bytes], odd: Sequence[str]) -> None:
    """Try arbitrary bytes, and recorded answers that are truncated, shuffled, and joined with arbitrary bytes.

    Args:
        attempt: Takes the bytes, an exit code and a number of copies.
        texts: The recorded answers.
        odd: Words that recorded answers do not have.

    Raises:
        CheckFailed: An attempt failed, and did not fail again for the same input.
    """

    @_ANSWERS
    @given(_make_answers(texts, odd), st.sampled_from((0, 0, 0, 1, 255)), st.sampled_from((1, 2, 50)))
    def try_answer(stdout: bytes, code: int, copies: int) -> None:
        attempt(stdout, code, copies)

    try:
        try_answer()
    except Flaky as error:
        raise CheckFailed("the same answer to the same text", f"once another: {error}") from error


def _make_answers(texts: list[bytes], odd: Sequence[str]) -> st.SearchStrategy[bytes]:
    text = st.sampled_from(texts or [b"17 R\n"])
    line = text.flatmap(lambda whole: st.sampled_from(whole.splitlines(keepends=True) or [b"\n"]))
    word = text.flatmap(lambda whole: st.sampled_from(re.findall(rb"\w+|\W", whole) or [b" "]))
    strange = st.sampled_from(
        [each.encode("utf-8", "surrogateescape") for each in (*odd, " ", "\t", "|", ":", "{", "<a>")]
    )
    pieces = st.lists(st.one_of(line, word, strange, st.binary(max_size=8)), max_size=12).map(b"".join)
    return st.one_of(st.binary(max_size=60), pieces, text.flatmap(_make_beginnings))


def _make_beginnings(text: bytes) -> st.SearchStrategy[bytes]:
    return st.integers(0, len(text)).map(lambda end: text[:end])
