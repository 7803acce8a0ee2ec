"""`python -m emotion_ser` is the command `emotion_ser`."""
from emotion_ser.cli import main

main()
