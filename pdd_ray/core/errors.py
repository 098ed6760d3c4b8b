"""The errors of the package; each text says what was got, what is allowed and what to do."""


class PddError(Exception):
    """Base class: every error that is shown to a user as one line, without a traceback.

    ``exit_code`` is what the command line ends with.
    """

    exit_code = 1


class ConfigError(PddError):
    """A sweep file, an override or an option is wrong."""

    exit_code = 2


class DataError(ConfigError):
    """A data set is missing, incomplete or not readable."""


class ExtensionError(ConfigError):
    """An installed package adds a method, a network or a data source that can't be used."""


class ResourceError(PddError):
    """The machine or cluster cannot give what a step asks for."""

    exit_code = 4


class StoreError(PddError):
    """The store cannot be read or written."""

    exit_code = 4


class RecordFormatError(StoreError):
    """Records were written by another version."""

    exit_code = 2


class DamagedArtifactError(StoreError):
    """An artifact does not have the content that was committed; ``key`` names it."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(key, reason)
        self.key = key
        self.reason = reason

    def __str__(self) -> str:
        return f"artifact {self.key} is damaged: {self.reason}"


class NonFiniteLossError(PddError):
    """A loss stopped being a finite number; the text names the iteration."""


class FormatError(PddError):
    """A file from elsewhere does not have the layout that its kind requires."""

    exit_code = 2


class StepsFailedError(PddError):
    """Some steps failed; what did not depend on them was completed."""


class InterruptedRunError(PddError):
    """The run was stopped by the user; running it again continues it."""

    exit_code = 130
