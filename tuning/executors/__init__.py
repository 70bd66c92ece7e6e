"""Where trials are run, if not in the process that searches.

keras-tuner's oracle proposes and records in one process, the driver. An executor runs
the trials: `Pool` in processes on this machine, `Ray` on a cluster. Each worker has a
copy of the tuner, and runs a trial as the driver would.
"""
