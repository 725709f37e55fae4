"""What the compiled parts are made of: imports nothing but the standard library, since the build uses it, too."""

import hashlib
from pathlib import Path

LIBRARY_VARIABLE = "ECG_AGENT_COMPILED"
"""Set to 0 in the environment, the parts in C are left out."""
FOLDER = Path(__file__).parent
LIBRARY = FOLDER / "compiled_parts.so"
CONTRACTED = {
    "beat_convolution.c": "fast",
    "beat_first_layers.c": "fast",
    "beat_templates.c": "off",
    "beat_training.c": "fast",
    "cluster_smoothing.c": "off",
    "context_net.c": "fast",
    "plain_samples.c": "off",
    "qrs_detector.c": "off",
    "qrs_evidence.c": "off",
    "qrs_filter.c": "off",
    "sample_ring.c": "off",
    "source_digest.c": "off",
    "window_features.c": "fast",
}
"""The sources, and whether a product and a sum may become one operation, which rounds otherwise than NumPy."""

HEADERS = ("beat_products.h", "beat_training.h", "numpy_sum.h", "processors.h", "qrs_state.h")


def digest_sources() -> str:
    """Return the SHA-256 (hex) of the sources: a library of other sources is not loaded."""
    digest = hashlib.sha256()
    for name in (*CONTRACTED, *HEADERS):
        digest.update((FOLDER / name).read_bytes())
    return digest.hexdigest()
