#!/usr/bin/env python3
"""Writes the texts of known scripts that the installed libraries have: loadtest/parts/library_scripts.py FOLDER

Each becomes FOLDER/SHA1. For scripts/bench, which runs redis-server with them; this repository has no such text.
"""

import pathlib
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "Tests" / "Integration"))

import script_texts

for sha1, text in script_texts.texts().items():
    (pathlib.Path(sys.argv[1]) / sha1).write_bytes(text)
