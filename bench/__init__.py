"""Measurements of the product, each beside a floor or a peer."""
