"""Training networks, and what is learned of images by it; imports the configuration and below."""
