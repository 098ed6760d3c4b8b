"""The Python interface, ``pdd_ray.run`` and its kin; imports every room but the command line."""
