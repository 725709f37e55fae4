"""What a net is fed of a beat, and what is made of its answer; NumPy only."""
