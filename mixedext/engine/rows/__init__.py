"""From rows to sums, bases, products and blocks: a Design."""
