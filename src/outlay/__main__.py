"""`python -m outlay`."""

from outlay.cli import main

if __name__ == "__main__":
    main()
