"""The stages in their order, their input queue, and the state of a bed."""
