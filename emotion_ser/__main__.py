"""`python -m emotion_ser` is the command `emotion_ser`."""
import gc
import os
import sys


def main():
    "The command; Ctrl-C has its sentence while Python is still reading what the command needs"
    gc.set_threshold(100_000)  # importing torch makes a million objects that stay: do not look at them again every 700
    try:
        from emotion_ser.cli import main as command
        command()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr, flush=True)
        os._exit(130)


if __name__ == "__main__": main()
