"""The data sources that are built in, one module each; a module that is added here is found."""
