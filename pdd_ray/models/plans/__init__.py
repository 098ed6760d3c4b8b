"""The layers of each architecture, known without torch."""
