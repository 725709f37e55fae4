"""The recording: written beside the monitor, read back, converted, gone on with. `docs/recording.md` has its layout."""
