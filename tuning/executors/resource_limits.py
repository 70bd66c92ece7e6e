"""Environment variables that limit the cores and the GPU memory of a worker."""


def limit_threads(count: int) -> dict[str, str]:
    """Returns the variables for a process that may use so many threads.

    Args:
        count: Integer, the number of threads.
    """
    names = (
        "OMP_NUM_THREADS",
        "TF_NUM_INTRAOP_THREADS",
        "TF_NUM_INTEROP_THREADS",
        "NPROC",  # For XLA on a CPU.
    )
    return dict.fromkeys(names, str(count))


def limit_gpu_memory(fraction: float) -> dict[str, str]:
    """Returns the variables for a process that may use a part of a GPU's memory.

    JAX allocates the part at once. TensorFlow allocates what it needs, as torch always
    does.

    Args:
        fraction: Float in (0, 1], the part of the memory.

    Example:

    >>> limit_gpu_memory(0.45)["XLA_PYTHON_CLIENT_MEM_FRACTION"]
    '0.45'
    """
    return {
        "XLA_PYTHON_CLIENT_MEM_FRACTION": str(round(fraction, 3)),
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    }
