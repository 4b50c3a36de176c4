"""`python -m cifsel` names the commands."""

from cifsel.runtime import command

if __name__ == "__main__":
    command.refuse("cifsel")
