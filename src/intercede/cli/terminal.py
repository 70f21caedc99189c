"""Prints the output of the commands. Names and versions of plugins are untrusted text, so control codes are escaped."""

import shutil
import sys
import textwrap

__all__ = ["escape_unprintable", "print_answer", "print_message", "wrap_text"]


def wrap_text(text: str, width: int) -> str:
    """Return a text in which each line longer than ``width`` is broken at spaces. Continuation lines are indented."""
    return "\n".join(each if len(each) <= width else _wrap_line(each, width) for each in text.split("\n"))


def _wrap_line(line: str, width: int) -> str:
    indent = " " * (len(line) - len(line.lstrip()) + 4)
    return textwrap.fill(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def print_answer(text: str) -> None:
    """Print an answer on stdout. Long lines are wrapped if stdout is a terminal, and are printed whole otherwise."""
    text = escape_unprintable(text)
    print(wrap_text(text, shutil.get_terminal_size().columns) if sys.stdout.isatty() else text)


def escape_unprintable(text: str) -> str:
    """Replace every unprintable character, except the newline, with an escape sequence."""
    return "".join(each if each.isprintable() or each == "\n" else _escape(each) for each in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def print_message(text: str) -> None:
    """Print a message for the user on stderr. Its prefix distinguishes the message from the payload's output."""
    print(escape_unprintable(f"intercede: {text}"), file=sys.stderr, flush=True)
