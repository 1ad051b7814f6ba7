"""What can go wrong through no fault of geseg, as one tree.

GesegError                      exit code 1
├── ConfigError                 a rule between options is broken (exit code 2: wrong usage)
├── OutputError                 the place to write to is taken or cannot be written
├── DeviceError                 the device that was asked for is not the one that would run
├── DataError                   a data set, an image or a patch file is not what it should be
│   ├── LayoutError             a folder is no data set that geseg knows, or an incomplete one
│   ├── ImageError              a file cannot be read as an image, or has the wrong size
│   └── PatchFileError          a file is not a patch file of geseg
├── ModelFileError              a file is not a model of geseg
├── DivergedError               a training whose loss is no number any more
├── StoppedError                a signal asked to stop; the message says what is kept
├── ProcessError                a process that shares the work has died
└── ExportError                 an exported model does not do what the original does
"""


class GesegError(Exception):
    """A problem that its user can fix; the command line prints the message alone and leaves with `exit_code`.

    The message is one line: what was found, what was expected, what to do.
    """

    exit_code = 1
    told = False
    """Whether another process, that shares the work and the terminal, has printed it or its cause already."""


class ConfigError(GesegError):
    """Options that contradict each other, or a value outside its range."""

    exit_code = 2


class OutputError(GesegError):
    """An output exists already, or its folder cannot be written."""


class DeviceError(GesegError):
    """The device or provider that was asked for is not available."""


class DataError(GesegError):
    """Input data that cannot be used."""


class LayoutError(DataError):
    """A folder that is no known data set, or lacks a part of it."""


class ImageError(DataError):
    """A file that is no image, or an image of the wrong size or kind."""


class PatchFileError(DataError):
    """A file that is no patch file, or one of another format number."""


class ModelFileError(GesegError):
    """A file that is no model, or one of another format number."""


class DivergedError(GesegError):
    """A training that has become useless, and that ended there."""


class StoppedError(GesegError):
    """Somebody wished the work to stop before its end."""


class ProcessError(GesegError):
    """Another process, with which this one shares its work, is not there any more."""


class ExportError(GesegError):
    """An exported file that failed its check; it is not kept."""
