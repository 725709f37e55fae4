"""Work in groups: done in this process, in several, or by a cluster."""
