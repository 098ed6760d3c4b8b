"""A method, a network and a data source for pdd-ray, one module each."""
