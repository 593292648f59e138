"""`python -m bitloss`."""

import sys

from bitloss.cli.main import main

sys.exit(main())
