"""WFDB records and annotations, resampling, and the embedded database."""
