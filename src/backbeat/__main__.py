"""`python -m backbeat` is `backbeat`."""

from backbeat.cli import main

if __name__ == "__main__":
    main()
