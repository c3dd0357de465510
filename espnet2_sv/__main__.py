"""``python -m espnet2_sv VERB ...``: the console script without an installation."""

from espnet2_sv.bin.main import main

if __name__ == "__main__":
    main()
