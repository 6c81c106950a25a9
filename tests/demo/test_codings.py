"""Which coding a client gets, and that nothing is lost in it."""

import gzip
import os

import pytest
import zstandard

from demo.codings import choose_coding, compress_all


@pytest.mark.parametrize(
    ("header", "offered", "chosen"),
    [
        ("gzip, deflate, br, zstd", ("br", "gzip"), "br"),
        ("gzip, deflate", ("br", "gzip"), "gzip"),
        ("GZIP ; Q=1.0", ("zstd", "gzip"), "gzip"),
        ("zstd;q=0, gzip;q=0.1", ("zstd", "gzip"), "gzip"),
        ("zstd;q=nonsense", ("zstd",), "identity"),
        ("identity", ("br", "zstd"), "identity"),
        ("", ("br", "zstd"), "identity"),
        ("br", (), "identity"),
    ],
)
def test_first_offer_that_the_client_takes_is_chosen(header, offered, chosen):
    assert choose_coding(header, offered) == chosen


def test_every_packed_form_unpacks_to_the_body():
    body = b"graph " * 1000
    packed = compress_all(body)
    assert zstandard.decompress(packed["zstd"]) == gzip.decompress(packed["gzip"]) == body


def test_forms_that_would_not_be_smaller_are_not_kept():
    assert compress_all(os.urandom(1000)) == {}
