"""Texts that somebody writes and somebody else decides by."""

from pydantic import AfterValidator

from broker.access.plain_text import unreadable_because


def _readable(text: str) -> str:
    problem = unreadable_because(text)
    if problem:
        raise ValueError(f"must {problem}")
    return text


READABLE = AfterValidator(_readable)
"""Of a text without look-alikes; after the limit of its length, for it looks at every character.

What cannot be seen is refused in every text of a body, whatever its type.
"""
