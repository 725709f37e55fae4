"""The waveform classifier: VT, VF, noise and asystole from four seconds of signal."""
