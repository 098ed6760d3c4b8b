"""``python -m pdd_ray`` is the console script ``pdd-ray``."""

from pdd_ray.cli.main import main

if __name__ == "__main__":
    main()
