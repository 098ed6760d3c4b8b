"""Real images and synthetic sets: what they hold, reading, preparing; imports ``pdd_ray.core``.

``facts``, ``spec`` and what they need work without torch; the rest computes.
"""
