#!/bin/sh
# Style as a test: layering, library seams, names, lengths, words, format. See docs/hacking.md.
cd "$(dirname "$0")/.." && exec python3 tests/tidy.py
