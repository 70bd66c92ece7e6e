"""The one error that means: what you gave is wrong, and this sentence says how."""


class InputError(ValueError):
    """Something the user gave cannot be used.

    The command line prints its message as it is, without a traceback, and exits
    with 2. So the message is a whole sentence, names what was given, and is raised
    before anything is trained or written.
    """
