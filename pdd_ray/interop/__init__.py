"""Files that other projects of the field write; imports ``pdd_ray.configuration`` and below."""
