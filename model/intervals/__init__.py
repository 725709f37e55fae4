"""PR, QRS and QT of a typical beat."""
