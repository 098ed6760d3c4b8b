"""Selection of real images: coresets in the same form as synthetic sets."""
