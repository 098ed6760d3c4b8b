"""From experiments to steps: what is made, in which order, what it takes. Needs no torch."""
