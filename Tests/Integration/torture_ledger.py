"""What a restart may find of what a connection of torture_kill.py has asked for.

Owns: when each state was promised. Refuses to know what a state means: see torture_requests.py.
"""

import time

from torture_requests import FULL, LASTING, first_four


class Ledger:
    """What one connection's slots may be: for each the states since the last one certain to be on disk."""

    def __init__(self):
        # slot -> [(when the reply came, or None while it has not, state)], the oldest first and certain
        self.states = {}
        # The slot of an ID's answer -> where it is in that slot's states, the limiter's slot, and where in that one's
        # states is what the call left behind.
        self.taken_at = {}
        # The slot of an ID's answer -> all of the answer, where it came.
        self.answers = {}
        self.compares_answers = True

    def sure(self, slot):
        return self.states.get(slot, [(0.0, FULL.get(slot[0]))])

    def sent(self, request):
        """Notes what a request may have changed from here on. Returns what `answered` and `refused` want."""
        notes = []
        for slot, state in request.changes:
            self.states.setdefault(slot, [(0.0, FULL.get(slot[0]))]).append((None, state))
            notes.append((slot, len(self.states[slot]) - 1))
        if request.answer and len(notes) == 2:
            self.taken_at[request.answer] = (notes[1][1], *notes[0])
        return notes

    def behind(self, answer, state):
        """What a limiter may be where this answer of it is remembered; None where that is not known."""
        at, slot, taken_at = self.taken_at.get(answer, (0, None, 0))
        # The same answer may be from before a flush that was lost.
        if slot is None or state in {earlier for _, earlier in self.states[answer][:at]}:
            return None
        return {state for _, state in self.states[slot][taken_at:]}

    def answered(self, notes):
        moment = time.monotonic()
        for slot, index in notes:
            self.states[slot][index] = (moment, self.states[slot][index][1])

    def refused(self, notes):
        for slot, _ in notes:
            self.states[slot].pop()

    def allowed(self, slot, sure_until):
        """States that a restart may find, where everything answered until then is on disk."""
        states = self.sure(slot)
        first = 0
        for index, (when, _) in enumerate(states):
            if when is not None and when <= sure_until:
                first = index
        return {state for _, state in states[first:]}

    def restart(self, found, answers):
        """What a new life begins with: states found, and the answers to IDs that were asked again."""
        self.states = {slot: [(0.0, state)] for slot, state in found.items()}
        self.taken_at = {}
        self.answers = {answer: self.answers[answer] for answer, state, _ in answers if answer in self.answers}
        self.compares_answers = True
        moment = time.monotonic()
        for answer, state, anew in answers:
            self.states[answer] = [(0.0, state)]
            if anew:
                reply, slot, used = anew
                self.states[answer].append((moment, first_four(reply)))
                self.states[slot].append((moment, used))
                self.answers[answer] = reply

    def flushed(self):
        """Every key is gone. What the flush and a loss behind it make of answers is known by four numbers only."""
        moment = time.monotonic()
        for slot, states in self.states.items():
            if slot[0] not in LASTING:
                states.append((moment, FULL.get(slot[0])))
        self.answers = {}
        self.compares_answers = False
