"""`python -m p2ptun`: the command `p2ptun`, where that isn't on the path."""

from p2ptun.cli.main import main

if __name__ == "__main__":
    main()
