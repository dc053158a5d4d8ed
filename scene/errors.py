"""One exception tree. Every message says what was expected, what came, and what to do."""


class StreetMaskError(Exception):
    """The root: whatever StreetMask raises on purpose."""


class FrameError(StreetMaskError):
    """One frame cannot be used (no picture, truncated, too large); the stream it came in goes on."""


class ConfigurationError(StreetMaskError):
    """A setting is wrong. ``field`` names it, so that a caller can point at it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self._message = message

    def __reduce__(self) -> tuple[type["ConfigurationError"], tuple[str, str]]:
        """For another process."""
        return type(self), (self.field, self._message)


class UnknownModelError(ConfigurationError):
    """A call asks for a model that is not loaded."""


class ArtifactError(StreetMaskError):
    """A model folder is missing, damaged, or of another schema."""


class ForeignPlanError(ArtifactError):
    """A plan was built for another version of its library, another platform or another GPU."""


class DataError(StreetMaskError):
    """A data set, checkpoint or input file is missing, empty or malformed."""


class ServerError(StreetMaskError):
    """The server could not start, be reached, or answer a call."""


class LimitError(ServerError):
    """A limit of the server is reached: calls, streams, memory, or replies that nobody reads."""


class AccessError(ServerError):
    """The server does not do this for this caller."""


class UnknownCallerError(AccessError):
    """The server does not know the caller, who showed no token or a wrong one."""


class UnreadError(LimitError):
    """A client leaves too many of its replies unread."""


def require(field: str, allowed: bool, expected: str, came: object) -> None:
    """Raise ``ConfigurationError`` for a field's value unless it is allowed."""
    if not allowed:
        raise ConfigurationError(field, f"expected {expected}, but {came!r} came")
