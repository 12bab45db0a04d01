"""ProductSearch clients, one package for each version of the API."""
