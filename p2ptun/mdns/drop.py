"""Why a multicast DNS message is dropped."""

from __future__ import annotations

from enum import Enum


class DropReason(Enum):
    """What was wrong with it, or missing. On a busy network most messages concern somebody else."""

    MALFORMED = "malformed"
    UNKNOWN_SOCKET = "unknown socket"
    REFUSED = "opcode or error"  # RFC 6762 18.3, 18.11: silently ignored
    FOREIGN_PORT = "response from a foreign port"  # RFC 6762 6
    NOT_OUR_NAME = "query for nobody's or another's name"
    KNOWN_ANSWER = "answer known"  # RFC 6762 7.1
    TOO_MANY_QUERIES = "too many queries"
    NOT_ASKED_FOR = "response that nobody asked for"
