"""`python -m emotion_ser` is the command `emotion_ser`."""
import sys


def main():
    "The command; Ctrl-C has its sentence while Python is still reading what the command needs"
    try:
        from emotion_ser.cli import main
        main()
    except KeyboardInterrupt: sys.exit(print("interrupted", file=sys.stderr) or 130)


if __name__ == "__main__": main()
