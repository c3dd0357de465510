"""The one exception that users are meant to read."""


class SVError(RuntimeError):
    """Bad input or a bad setting, told in one line.

    The message names the file, utterance or key that is wrong and says what to do about
    it. Command lines print it without a traceback and exit with status 1.
    """
