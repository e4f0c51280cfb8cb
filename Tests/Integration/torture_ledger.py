"""The states that a restart may find after the requests of one connection of torture_kill.py.

Owns: when each state became certain to be kept. Refuses to know what a state means: see torture_requests.py.
"""

import time

from torture_requests import FULL, LASTING, first_four


class Ledger:
    """The possible states of one connection's slots: for each, those since the last one that is certain to be on
    disk."""

    def __init__(self):
        # slot -> [(time of the reply, or None before it, state)], the oldest first and certain
        self.states = {}
        # The slot of an ID's answer -> its position in that slot's states, the limiter's slot, and the position in that
        # slot's states of the state after the call.
        self.taken_at = {}
        # The slot of an ID's answer -> the complete answer, if it arrived.
        self.answers = {}
        self.compares_answers = True

    def sure(self, slot):
        return self.states.get(slot, [(0.0, FULL.get(slot[0]))])

    def sent(self, request):
        """Records what a request may change from here on. Returns the argument for `answered` and `refused`."""
        notes = []
        for slot, state in request.changes:
            self.states.setdefault(slot, [(0.0, FULL.get(slot[0]))]).append((None, state))
            notes.append((slot, len(self.states[slot]) - 1))
        if request.answer and len(notes) == 2:
            self.taken_at[request.answer] = (notes[1][1], *notes[0])
        return notes

    def behind(self, answer, state):
        """The possible states of a limiter if this answer of it is remembered; None if they are unknown."""
        at, slot, taken_at = self.taken_at.get(answer, (0, None, 0))
        # The same answer may predate a flush that was lost.
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
        """The states that a restart may find if everything answered until then is on disk."""
        states = self.sure(slot)
        first = 0
        for index, (when, _) in enumerate(states):
            if when is not None and when <= sure_until:
                first = index
        return {state for _, state in states[first:]}

    def restart(self, found, answers):
        """The initial states of a new life: the states found, and the answers to IDs that were repeated."""
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
        """Every key is deleted. After the flush, and its possible loss, only the first four numbers of an answer are
        known."""
        moment = time.monotonic()
        for slot, states in self.states.items():
            if slot[0] not in LASTING:
                states.append((moment, FULL.get(slot[0])))
        self.answers = {}
        self.compares_answers = False
