"""From experiments to steps, and what they take; imports methods and below, and no torch."""
