"""What a worker does, wherever it runs."""

import os
import pickle
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import cloudpickle

from hornbook.tuning.executors.packing import Job


class Worker:
    """Runs trials with a copy of the tuner, which stays warm from one to the next.

    Args:
        job: A `Job`.
    """

    def __init__(self, job: Job) -> None:
        self.job: Job | None = job
        self.tuner: Any = None
        self.args: Sequence[Any] = ()
        self.kwargs: dict[str, Any] = {}
        os.environ.update(job.environment)

    def run(self, state: dict[str, Any], end_order: list[str]) -> dict[str, Any]:
        """Runs a trial.

        Args:
            state: Dict, the state of the trial, from its `get_state`.
            end_order: List of the ids of the trials that have ended, in that order.

        Returns:
            Dict with "trial", the state of the trial at its end, or "error", an
            exception that ends the search; and "said", a list of sentences for the
            user.
        """
        said: list[str] = []
        try:
            if self.job is not None:
                self.tuner, self.args, self.kwargs = self.job.unpack()
                self.tuner.is_worker = True
                self.job = None
            return {"trial": self._run(state, end_order, said.append), "said": said}
        except Exception as error:
            error.add_note(f"In a worker:\n{traceback.format_exc()}")
            return {"error": _picklable(error), "said": said}

    def _run(
        self,
        state: dict[str, Any],
        end_order: list[str],
        say: Callable[[str], object],
    ) -> dict[str, Any]:
        from keras_tuner.engine.trial import Trial  # It imports Keras.

        tuner, trial = self.tuner, Trial.from_state(state)
        tuner._say = say
        tuner.oracle.trials = {trial.trial_id: trial}
        tuner.oracle.end_order = end_order
        tuner._try_run_and_update_trial(trial, *self.args, **self.kwargs)
        return trial.get_state()


def _picklable(error: Exception) -> Exception:
    try:
        pickle.loads(cloudpickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
