"""What the commands say, kept from driving the terminal: names and versions of plugins are strangers' text."""

import sys

__all__ = ["plain", "say"]


def plain(text: str) -> str:
    """Return the text with whatever does not print, but the line's end, written as an escape."""
    return "".join(each if each.isprintable() or each == "\n" else _escape(each) for each in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def say(text: str) -> None:
    """Tell the user something on stderr, apart from what the payload wrote."""
    print(plain(f"intercede: {text}"), file=sys.stderr, flush=True)
