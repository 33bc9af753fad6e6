"""The two forms of a model, compared before one answers in the name of the other.

Answers carry the hash of the ONNX file, also when torch computed them from the weights beside
it; so both compute the same made-up windows first.
"""

import numpy as np

from domain.errors import ProviderUnavailable, StateError
from forecasts.bar_features import SCALE_FEATURE
from forecasts.local_process import ModelProcess
from forecasts.model_files import StoredModel
from modelserver.lane import Engine

# Log returns: far below anything that decides, far above the rounding of a float32.
LARGEST_DIFFERENCE = 1e-4
_ROWS = 3
_TYPICAL_LOG_VOLATILITY = -4.0


def check_agreement(stored: StoredModel, engine: Engine, deadline_seconds: float) -> None:
    """Compare an engine with the ONNX file that it stands for.

    Raises:
        StateError: they disagree, or one of them does not answer.
    """
    card = stored.card
    shape = (_ROWS, card.lookback, len(card.features))
    contexts = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    contexts[:, :, SCALE_FEATURE] = _TYPICAL_LOG_VOLATILITY
    reference = ModelProcess(stored.onnx)
    try:
        expected = reference.run(contexts, deadline_seconds)
        found = engine.run(contexts, deadline_seconds)
    except ProviderUnavailable as exc:
        raise StateError(f"model {card.title} cannot be computed on this device: {exc}") from exc
    finally:
        reference.close()
    is_same = found.shape == expected.shape
    if not (is_same and float(np.abs(found - expected).max()) <= LARGEST_DIFFERENCE):
        raise StateError(
            f"the weights of model {card.title} answer otherwise than its ONNX file; train it again"
        )
