"""The methods that are built in, by family; a module that is added here is found."""
