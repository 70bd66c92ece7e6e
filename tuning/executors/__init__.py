"""Where trials run: in this process, in a population, or in other processes.

keras-tuner's oracle proposes hyperparameters and records results in one process, the
driver; `driver.search` is the loop that asks it. An executor runs the trials of a
search in other processes: `Pool` on this machine, `Ray` on a cluster. Each worker has a
copy of the tuner, and runs a trial as the driver would.
"""
