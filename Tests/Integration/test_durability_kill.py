"""kill -9 under load; then every reply is checked against the state that is left. See torture_kill.py.

ESCAPEMENT_KILL_CYCLES is the total number of server runs. A failure prints the seed, and ESCAPEMENT_SEED repeats it:
the requests, not their timing. The verdict does not depend on randomness or timing: a failure is a bug of the server,
or of the model of its guarantees.
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
    # Otherwise hardly anything was in progress at the kill, and the test would prove little.
    assert run.answered > 20 * lives and run.snapshots > 0
