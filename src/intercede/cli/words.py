"""What the commands say, kept from driving the terminal: names and versions of plugins are strangers' text."""

import shutil
import sys
import textwrap

__all__ = ["fitted", "plain", "say", "show"]


def fitted(text: str, width: int) -> str:
    """Return the text with each line that is longer than that broken between words, and indented from there on."""
    return "\n".join(each if len(each) <= width else _broken(each, width) for each in text.split("\n"))


def _broken(line: str, width: int) -> str:
    indent = " " * (len(line) - len(line.lstrip()) + 4)
    return textwrap.fill(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def show(text: str) -> None:
    """Print an answer. A terminal, which would break its lines anywhere, gets them fitted; a program gets them whole."""
    text = plain(text)
    print(fitted(text, shutil.get_terminal_size().columns) if sys.stdout.isatty() else text)


def plain(text: str) -> str:
    """Return the text with whatever does not print, but the line's end, written as an escape."""
    return "".join(each if each.isprintable() or each == "\n" else _escape(each) for each in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def say(text: str) -> None:
    """Tell the user something on stderr, apart from what the payload wrote."""
    print(plain(f"intercede: {text}"), file=sys.stderr, flush=True)
