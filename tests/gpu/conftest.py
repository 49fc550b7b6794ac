"""Lets the tests here use the tables of op cases and of fused ops."""

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "ops"), str(TESTS / "fused")]
