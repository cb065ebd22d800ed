"""A model beside another: what is nested in what, and refits without terms."""
