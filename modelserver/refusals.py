"""Why a request is not answered: a status, a sentence, and when to come back."""

from domain.errors import OpenbellError

BAD_REQUEST = 400
UNAUTHORIZED = 401
NOT_FOUND = 404
TOO_SLOW = 408
TOO_LARGE = 413
UNKNOWN_ENCODING = 415
TOO_MANY = 429
FAILED = 500
UNAVAILABLE = 503


class InferenceRefused(OpenbellError):
    """An inference request that gets no forecasts; its text goes to the client."""

    def __init__(self, status: int, reason: str, *, retry_after_seconds: int | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.retry_after_seconds = retry_after_seconds


def busy(reason: str, retry_after_seconds: int) -> InferenceRefused:
    """Refuse for now because too much is waiting."""
    return InferenceRefused(TOO_MANY, reason, retry_after_seconds=retry_after_seconds)


def unavailable(reason: str, retry_after_seconds: int = 1) -> InferenceRefused:
    """Refuse for now because the server or the model cannot compute."""
    return InferenceRefused(UNAVAILABLE, reason, retry_after_seconds=retry_after_seconds)
