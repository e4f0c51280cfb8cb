"""Reproducible random numbers. Every randomized test takes its numbers from here, and a failure shows the seed.

ESCAPEMENT_SEED repeats a seed. With ESCAPEMENT_FIXED_SEEDS each test has its own fixed seed, as in `make test`, whose
verdict must not depend on randomness. Otherwise seeds are random.
"""

import os
import random
import zlib


def new_seed(name):
    """A seed for the given name, printed."""
    given = os.environ.get("ESCAPEMENT_SEED")
    if given is not None:
        seed = int(given)
    elif "ESCAPEMENT_FIXED_SEEDS" in os.environ:
        seed = zlib.crc32(name.encode())
    else:
        seed = random.SystemRandom().getrandbits(32)
    print(f"{name}: ESCAPEMENT_SEED={seed}")
    return seed


def seeded(name):
    """A generator with such a seed."""
    return random.Random(new_seed(name))
