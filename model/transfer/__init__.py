"""Transfer of a trained representation to another question."""
