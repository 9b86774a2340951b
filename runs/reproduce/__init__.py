"""Published results that nobody here wrote, and what the lab gives in their place: `kerf reproduce`."""
