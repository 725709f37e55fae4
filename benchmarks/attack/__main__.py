"""`python -m benchmarks.attack`."""

from benchmarks.attack.command import main

if __name__ == "__main__":
    main()
