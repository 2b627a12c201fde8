"""Which devices, and how many, serve a load within its promises."""
