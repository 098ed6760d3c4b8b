"""What a store knows of the sweeps that were run on it: states, tables, plots, pictures, pages."""
