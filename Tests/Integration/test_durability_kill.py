"""kill -9 in the middle of everything, and every reply is held against what is left. See torture_kill.py.

ESCAPEMENT_KILL_CYCLES says how many lives in all. A failure prints the seed that ESCAPEMENT_SEED repeats: the
requests, not the moments at which they meet. No draw and no moment decides whether it passes: where it fails, it has found a fault
of the server, or of the model of its promises.
"""

import os

import pytest

import torture_kill

CYCLES = int(os.environ.get("ESCAPEMENT_KILL_CYCLES", "200"))


@pytest.mark.parametrize("policy, share", [("always", 0.55), ("everysec", 0.25), ("no", 0.1), ("switched", 0.1)])
def test_killed_at_random_moments(tmp_path, policy, share):
    lives = max(2, round(CYCLES * share))
    run = torture_kill.run(tmp_path / "data", policy, lives)
    print(f"seed {run.seed}: {run.lives} lives, {run.answered} replies, {run.snapshots} snapshots, {run.torn} torn "
          f"ends, {run.refused} refused by a full disk")
    assert run.lives == lives
    # Else hardly anything was under way when the kill came, and the test would say little.
    assert run.answered > 20 * lives and run.snapshots > 0
