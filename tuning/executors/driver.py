"""The search itself: the oracle proposes and records here, workers run the trials."""

from collections import Counter
from dataclasses import dataclass

from hornbook.tuning.executors.protocol import pack

LIVES = 2  # Workers that a trial may cost before it has failed.


@dataclass
class Died:
    """What an executor's `receive` gives in place of an answer.

    Attributes:
        how: The end of a sentence about the worker.
    """

    how: str


def search(tuner, executor, args, kwargs):
    """Searches as `keras_tuner.Tuner.search` does, with trials in an executor.

    Args:
        tuner: A `Tuner` that holds its project folder.
        executor: A `Pool`, a `Ray`, or what has their `workers`, `start`, `send`,
            `receive` and `stop`.
        args: For `fit`.
        kwargs: For `fit`.
    """
    if "verbose" in kwargs:
        tuner.oracle.verbose = kwargs["verbose"]
    tuner.on_search_begin()
    job = pack(tuner, args, kwargs)
    try:
        executor.start(job)
        _Search(tuner, executor).run()
    finally:
        executor.stop()
    tuner.on_search_end()


class _Search:
    def __init__(self, tuner, executor):
        self.tuner, self.oracle, self.executor = tuner, tuner.oracle, executor
        self.running, self.deaths, self.said = {}, Counter(), set()

    def run(self):
        while True:
            self._fill_places()
            if not self.running:
                return
            place, answer = self.executor.receive()
            if isinstance(answer, Died):
                self._bury(place, answer)
            else:
                self._end_trial(place, answer)

    def _fill_places(self):
        for place in range(self.executor.workers):
            if place in self.running:
                continue
            self.tuner.pre_create_trial()
            trial = self.oracle.create_trial(f"worker{place}")
            if trial.status != "RUNNING":  # None left, or it waits for what is running.
                return
            self.tuner.on_trial_begin(trial)
            self.running[place] = trial
            self._send(place)

    def _send(self, place):
        state = self.running[place].get_state()
        self.executor.send(place, state, list(self.oracle.end_order))

    def _end_trial(self, place, answer):
        from keras_tuner.engine.trial import Trial

        for sentence in answer["said"]:
            if sentence not in self.said:  # Each worker finds out by itself.
                self.said.add(sentence)
                self.tuner._say(sentence)
        if "error" in answer:
            raise answer["error"]
        trial = Trial.from_state(answer["trial"])
        self.running.pop(place).metrics = trial.metrics
        self.tuner.on_trial_end(trial)

    def _bury(self, place, died):
        trial = self.running.get(place)
        if trial is None:  # It had nothing to do; `send` starts another.
            return
        self.deaths[trial.trial_id] += 1
        message = f"Trial {trial.trial_id}: its worker {died.how}"
        if self.deaths[trial.trial_id] < LIVES:
            self.tuner._say(f"{message}. It goes on in a new one.")
            self._send(place)
            return
        del self.running[place], self.deaths[trial.trial_id]
        trial.status, trial.message = "INVALID", f"{message}."
        self.tuner._say(f"{message}, again: the trial has failed.")
        self.tuner.on_trial_end(trial)
