"""News and how it leans."""
