"""The one error that a user is meant to read."""


class SgcpError(Exception):
    """Something the user can mend: the message says what was wrong, where, and what to do."""
