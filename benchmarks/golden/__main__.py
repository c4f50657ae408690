"""`python -m benchmarks.golden`."""

import sys

from benchmarks.golden.run import main

sys.exit(main(sys.argv[1:]))
