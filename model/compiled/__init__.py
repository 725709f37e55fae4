"""Parts in C of what is paid for every beat, built with this package where there is a compiler.

Each has a twin in Python, which is used where it was not built, and which says what it computes.
"""
