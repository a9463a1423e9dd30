"""The demo is the product's first promise: it runs, and everything turns out as told."""

from __future__ import annotations

from tests.support.cli import run


def test_the_demo() -> None:
    ran = run("demo")
    assert ran.status == 0, ran.out
    assert ran.out.count("DENIED [") == 10
    assert "-> 200 allowed" in ran.out
    assert "-> 403 denied unsigned" in ran.out
    assert "0 not as told" in ran.out
