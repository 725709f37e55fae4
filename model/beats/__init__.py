"""From beats to the inputs of a net, and from its outputs to the class of a beat; NumPy only."""
