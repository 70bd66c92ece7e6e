"""Sharing out cores and GPU memory among workers, by what libraries read."""


def share_threads(count):
    """Variables for a process that is to use so many threads."""
    names = (
        "OMP_NUM_THREADS",
        "TF_NUM_INTRAOP_THREADS",
        "TF_NUM_INTEROP_THREADS",
        "NPROC",  # For XLA on a CPU.
    )
    return dict.fromkeys(names, str(count))


def share_gpu(part):
    """Variables for a process that is to take no more than a part of a GPU's memory.

    JAX takes it at once. TensorFlow takes what it needs, as torch always does.
    """
    return {
        "XLA_PYTHON_CLIENT_MEM_FRACTION": str(round(part, 3)),
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    }
