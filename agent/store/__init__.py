"""The store of a fleet: several monitors tell what they find of the same beds, and it holds each finding once."""
