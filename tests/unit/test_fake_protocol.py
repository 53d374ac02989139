"""The wire protocol of fake partitions: messages in and out, and what is none."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plproxy_py.testing import _protocol
from plproxy_py.testing._protocol import (
    Bind,
    CancelRequest,
    Close,
    Describe,
    EncryptionRequest,
    Execute,
    Flush,
    Malformed,
    Message,
    Param,
    Parse,
    Query,
    Startup,
    Sync,
    Terminate,
)

OPENINGS = [
    (struct.pack("!i", 80877103), EncryptionRequest()),
    (struct.pack("!i", 80877104), EncryptionRequest()),
    (struct.pack("!iii", 80877102, 7, -1), CancelRequest((7, -1))),
    (
        struct.pack("!i", 196608) + b"user\0app\0database\0\xc3\xa9\0\0",
        Startup({"user": "app", "database": "é"}, 0),
    ),
    (struct.pack("!i", 196610) + b"\0", Startup({}, 2)),
]

MESSAGES: list[tuple[bytes, bytes, Message]] = [
    (b"Q", b"SELECT 1\0", Query(b"SELECT 1")),
    (b"P", b"s\0SELECT $1\0\0\1\0\0\0\x19", Parse("s", b"SELECT $1", (25,))),
    (
        b"B",
        b"\0s\0" + b"\0\0" + b"\0\2" + b"\0\0\0\2ab" + b"\xff\xff\xff\xff" + b"\0\0",
        Bind("", "s", (Param(b"ab"), Param(None)), ()),
    ),
    (
        b"B",
        b"\0\0" + b"\0\2\0\0\0\1" + b"\0\2" + b"\0\0\0\0" + b"\0\0\0\1x" + b"\0\1\0\1",
        Bind("", "", (Param(b""), Param(b"x", True)), (1,)),
    ),
    (
        b"B",
        b"\0\0" + b"\0\1\0\1" + b"\0\1" + b"\0\0\0\1x" + b"\0\0",
        Bind("", "", (Param(b"x", True),), ()),
    ),
    (b"D", b"Pp\0", Describe("p", True)),
    (b"D", b"S\0", Describe("", False)),
    (b"E", b"\0\0\0\0\5", Execute("", 5)),
    (b"C", b"Ss\0", Close("s", False)),
    (b"S", b"", Sync()),
    (b"H", b"", Flush()),
    (b"X", b"", Terminate()),
]


@pytest.mark.parametrize(("data", "message"), OPENINGS)
def test_openings(data: bytes, message: object) -> None:
    assert _protocol.read_opening(data) == message


@pytest.mark.parametrize(("kind", "data", "message"), MESSAGES)
def test_messages(kind: bytes, data: bytes, message: Message) -> None:
    assert _protocol.read_message(kind, data) == message


@given(case=st.sampled_from(MESSAGES), data=st.data())
def test_what_is_cut_is_malformed(
    case: tuple[bytes, bytes, Message], data: st.DataObject
) -> None:
    kind, whole, _ = case
    if whole:
        cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
        with pytest.raises(Malformed):
            _protocol.read_message(kind, cut)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (b"?", b""),
        (b"D", b"Q\0"),
        (b"B", b"\0\0" + b"\0\2\0\0\0\0" + b"\0\1" + b"\0\0\0\0" + b"\0\0"),
        (b"B", b"\0\0" + b"\0\0" + b"\0\1" + b"\xff\xff\xff\xfe" + b"\0\0"),
    ],
)
def test_malformed(kind: bytes, data: bytes) -> None:
    with pytest.raises(Malformed):
        _protocol.read_message(kind, data)


def test_an_older_protocol_is_not_spoken() -> None:
    with pytest.raises(Malformed, match=r"2\.0"):
        _protocol.read_opening(struct.pack("!i", 2 << 16))


def test_what_a_server_writes() -> None:
    written = {
        _protocol.ready("T"): b"Z\0\0\0\5T",
        _protocol.command_complete("SELECT 1"): b"C\0\0\0\x0dSELECT 1\0",
        _protocol.data_row([b"ab", None, b""]): (
            b"D\0\0\0\x14\0\3\0\0\0\2ab\xff\xff\xff\xff\0\0\0\0"
        ),
        _protocol.row_description([("r", 25)]): (
            b"T\0\0\0\x1a\0\1r\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0"
        ),
        _protocol.error_response({"S": "ERROR", "M": "no\0no"}): (
            b"E\0\0\0\x13SERROR\0Mno?no\0\0"
        ),
        _protocol.parameter_description([23]): b"t\0\0\0\x0a\0\1\0\0\0\x17",
        _protocol.backend_key((1, 2)): b"K\0\0\0\x0c\0\0\0\1\0\0\0\2",
        _protocol.parameter_status("a", "b"): b"S\0\0\0\x08a\0b\0",
        _protocol.protocol_version(["_pq_.x"]): (
            b"v\0\0\0\x13\0\3\0\0\0\0\0\1_pq_.x\0"
        ),
    }
    for message, expected in written.items():
        assert message == expected
