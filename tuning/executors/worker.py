"""What a worker does, wherever it is."""

import os
import pickle
import traceback

import cloudpickle


class Worker:
    """Runs trials with a copy of the tuner, which stays warm from one to the next.

    Args:
        job: A `Job`.
    """

    def __init__(self, job):
        self.job = job
        self.tuner = None
        os.environ.update(job.environment)

    def run(self, state, end_order):
        """Runs a trial.

        Args:
            state: Of the trial, from `get_state`.
            end_order: Ids of the trials that are done, in the order of their ends.

        Returns:
            Dict: "trial", its state when it is done, or "error", an exception that ends
            the search, and "said", a list of sentences for the user.
        """
        said = []
        try:
            if self.tuner is None:
                self.tuner, self.args, self.kwargs = self.job.unpack()
                self.tuner.is_worker = True
                self.job = None
            return {"trial": self._run(state, end_order, said.append), "said": said}
        except Exception as error:
            error.add_note(f"In a worker:\n{traceback.format_exc()}")
            return {"error": _sendable(error), "said": said}

    def _run(self, state, end_order, say):
        from keras_tuner.engine.trial import Trial

        tuner, trial = self.tuner, Trial.from_state(state)
        tuner._say = say
        tuner.oracle.trials = {trial.trial_id: trial}
        tuner.oracle.end_order = end_order
        tuner._try_run_and_update_trial(trial, *self.args, **self.kwargs)
        return trial.get_state()


def _sendable(error):
    try:
        pickle.loads(cloudpickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
