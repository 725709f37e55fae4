"""What the net is and what it is fed: records, resampling, beats, data set, network, checkpoints, training."""
