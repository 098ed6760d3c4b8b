"""Counts of what makes a GPU wait, or be waited for: per unit of training and of every method.

    python benchmarks/counts.py [UNIT ...] [--lines]

Counted on an emulated device (pdd_ray/testing/fake_device.py), so the numbers are the same on every
machine. A *sync* is where the CPU waits for the device, a *launch* an operator that starts kernels
there. Copies to the device count as syncs here, since this device has no pinned memory; on CUDA
they are free. ``--lines`` shows where: the innermost line of the package.
"""

from __future__ import annotations

import argparse
import sys

from pdd_ray.testing.counts import UNITS, count


def main() -> int:
    """Print the counts of the units that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("units", nargs="*", metavar="UNIT", help=f"of: {', '.join(UNITS)}")
    parser.add_argument("--lines", action="store_true", help="show the lines that cause them")
    options = parser.parse_args()
    if unknown := set(options.units) - set(UNITS):
        parser.error(f"unknown units: {', '.join(sorted(unknown))}; known are {', '.join(UNITS)}")
    print(f"{'unit':<12}{'syncs':>8}{'allowed':>9}{'launches':>10}   per")
    for name in options.units or UNITS:
        unit = UNITS[name]
        found = count(unit)
        allowed = f"{unit.most_syncs:g}"
        print(f"{name:<12}{found.syncs:>8.2f}{allowed:>9}{found.launches:>10.1f}   {unit.per}")
        if options.lines:
            for title, lines in (("sync", found.sync_lines), ("launch", found.launch_lines)):
                for line, number in lines:
                    print(f"    {title:<8}{number:>8.2f}  {line}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
